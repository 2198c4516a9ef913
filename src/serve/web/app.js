// Starts the page: the frame around the views (top bar, list, settings), language, theme, keyboard shortcuts.
import { ChatView } from './chat.js';
import { append, dialog, h, iconButton, mark, toast } from './dom.js';
import { pickLanguage, setLanguage, t } from './i18n.js';
import { chooseModel, currentModel, modelEvents, models, refreshModels } from './models.js';
import { drawPanel } from './panel.js';
import { go, register, routeEvents, show, shownView, startRouter } from './router.js';
import { applyTheme, change, changes, settings } from './settings.js';
import { Sidebar } from './sidebar.js';
import { conversationOf, openStore, storeEvents } from './store.js';

const at = (id) => document.getElementById(id);
const phone = matchMedia('(max-width: 760px)');
const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
const kShortcuts = [
  ['Enter', 'key_send'], ['Shift Enter', 'key_newline'], ['Esc', 'key_stop'], ['Alt N', 'key_new'], ['Mod K', 'key_search'],
  ['Mod B', 'key_sidebar'], ['Alt S', 'key_settings'], ['/', 'key_focus'], ['↑', 'key_edit'], ['Alt R', 'key_again'], ['?', 'key_help'],
];

const sidebar = new Sidebar(at('sidebar'), {
  showShortcuts, closeOnPhone: () => { if (phone.matches) setSidebar(false); },
});

function showShortcuts() {
  const key = (name) => h('kbd', {}, name === 'Mod' ? (isMac ? '⌘' : 'Ctrl') : name);
  dialog(t('shortcuts'), () => [h('dl', { class: 'shortcuts' }, kShortcuts.map(([keys, what]) =>
    h('div', {}, h('dt', {}, keys.split(' ').map(key)), h('dd', {}, t(what)))))]);
}

// ---- frame ----

function setSidebar(open) {
  document.body.classList.toggle('sidebar-open', open);
  at('sidebar').inert = !open;
  at('main').inert = open && phone.matches;
  at('sidebar-toggle')?.setAttribute('aria-expanded', String(open));
  if (!phone.matches) change({ sidebar: open });
}

function setPanel(open, focus = false) {
  if (open) drawPanel(at('panel'), () => setPanel(false));
  document.body.classList.toggle('panel-open', open);
  at('panel').inert = !open;
  at('panel-toggle')?.setAttribute('aria-expanded', String(open));
  change({ panel: open });
  if (focus) (open ? at('panel').querySelector('textarea') : at('panel-toggle')).focus();
}

const isOpen = (name) => document.body.classList.contains(`${name}-open`);

function drawTop() {
  const picker = h('select', { id: 'model', 'aria-label': t('model'), onchange: () => chooseModel(picker.value) });
  if (!models.list.length) append(picker, [h('option', {}, t(models.loading ? 'loading_models' : 'no_model'))]);
  for (const model of models.list) append(picker, [h('option', { value: model.id, selected: model === currentModel() }, model.id)]);
  picker.disabled = !models.list.length;
  at('top').replaceChildren(
    iconButton('sidebar', t('toggle_sidebar'), () => setSidebar(!isOpen('sidebar')), { id: 'sidebar-toggle', 'aria-expanded': String(isOpen('sidebar')), 'aria-controls': 'sidebar' }),
    h('a', { class: 'brand', href: '#/chat', 'aria-label': `tessera: ${t('new_chat')}` }, mark(), h('span', {}, 'tessera')),
    h('div', { class: 'picker' }, picker),
    h('span', { class: 'context', id: 'context' }),
    iconButton('compose', t('new_chat'), () => go('chat'), { class: 'icon-button phone-only' }),
    iconButton('sliders', t('open_settings'), () => setPanel(!isOpen('panel'), true), { id: 'panel-toggle', 'aria-expanded': String(isOpen('panel')), 'aria-controls': 'panel' }));
  drawContext();
}

// How much of the model's context the conversation fills, where both are known.
function drawContext() {
  const used = shownView()?.last?.('assistant')?.usage;
  const all = currentModel()?.context;
  const total = used ? used.prompt + used.reply : 0;
  const element = at('context');
  if (!element) return;
  element.textContent = all && total ? t('context_share', { n: Math.round((100 * total) / all) }) : '';
  element.title = all && total ? t('context_used', { used: total, all }) : '';
}

function setDocument() {
  const title = shownView()?.conversation?.title;
  document.title = title ? `${title} · tessera` : 'tessera';
}

function applyLanguage() {
  setLanguage(pickLanguage(settings.language));
  at('skip').textContent = t('skip');
}

function drawFrame() {
  drawTop();
  sidebar.draw();
  if (isOpen('panel')) setPanel(true);
}

// ---- keyboard ----

const isField = (element) => /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);

function escape() {
  if (shownView()?.current?.()) shownView().stop();
  else if (isOpen('panel')) setPanel(false, true);
  else if (phone.matches && isOpen('sidebar')) setSidebar(false);
}

function onKey(event) {
  if (event.isComposing || document.querySelector('dialog[open]')) return;
  const mod = isMac ? event.metaKey : event.ctrlKey;
  const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const keys = {
    KeyK: mod && (() => { setSidebar(true); at('search').focus(); at('search').select(); }),
    KeyB: mod && (() => setSidebar(!isOpen('sidebar'))),
    KeyN: event.altKey && (() => go('chat')),
    KeyS: event.altKey && (() => setPanel(!isOpen('panel'), true)),
    KeyR: event.altKey && (() => shownView()?.regenerateLast?.()),
    Escape: escape,
  };
  const typing = isField(event.target);
  const run = keys[event.code] || keys[event.key] ||
    (!typing && plain && event.key === '/' && (() => at('message')?.focus())) || (!typing && plain && event.key === '?' && showShortcuts);
  if (!run) return;
  if (event.key !== 'Escape') event.preventDefault();
  run();
}

// ---- start ----

async function start() {
  applyTheme();
  applyLanguage();
  register('chat', { icon: 'text', label: () => t('conversation'), create: (id) => new ChatView(id && conversationOf(id) ? id : '') });
  setSidebar(settings.sidebar && !phone.matches);
  setPanel(settings.panel && !phone.matches && innerWidth > 1100);
  const lasting = await openStore();
  startRouter(at('view'));
  drawFrame();
  if (!lasting) toast(t('storage_failed'), { seconds: 12 });
  changes.addEventListener('change', ({ detail }) => {
    if (detail.includes('theme')) applyTheme();
    if (detail.includes('language')) {
      applyLanguage();
      show({ focus: false });
    }
    if (detail.includes('theme') || detail.includes('language')) {
      const focused = document.activeElement?.id;
      drawFrame();
      if (focused) at(focused)?.focus();
    }
  });
  modelEvents.addEventListener('change', drawTop);
  storeEvents.addEventListener('change', () => { setDocument(); drawContext(); });
  storeEvents.addEventListener('full', () => toast(t('storage_full'), { kind: 'error', seconds: 10 }));
  routeEvents.addEventListener('change', () => {
    setDocument();
    drawContext();
    if (isOpen('panel')) setPanel(true);
  });
  document.addEventListener('ask-key', () => { setPanel(true); at('api-key').focus(); });
  document.addEventListener('keydown', onKey);
  at('skip').addEventListener('click', (event) => { event.preventDefault(); at('message')?.focus(); });
  at('shade').addEventListener('click', () => { setSidebar(false); setPanel(false); });
  phone.addEventListener('change', () => setSidebar(!phone.matches && settings.sidebar));
  addEventListener('online', refreshModels);
  setDocument();
  refreshModels();
}

start();
