// The list of conversations: search, open, rename, pin, export, delete; import; language and theme.
import { ask, download, h, icon, iconButton, menu, toast } from './dom.js';
import { fileName, readFile, toJson, toMarkdown } from './exchange.js';
import { t, language, languages } from './i18n.js';
import { go, registered, route, routeEvents } from './router.js';
import { change, settings } from './settings.js';
import { conversationOf, conversations, nodesOf, remove, save, storeEvents } from './store.js';

const kDay = 86400000;
const themes = ['auto', 'light', 'dark'];

function groupOf(conversation) {
  if (conversation.pinned) return 'pinned';
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (conversation.updated >= midnight) return 'today';
  if (conversation.updated >= midnight - kDay) return 'yesterday';
  return conversation.updated >= midnight - 7 * kDay ? 'week' : 'older';
}

export class Sidebar {
  /// `actions`: showShortcuts(), closeOnPhone().
  constructor(element, actions) {
    this.element = element;
    this.actions = actions;
    this.query = '';
    const later = () => { this.pending ??= setTimeout(() => { this.pending = null; this.drawList(); }, 30); };
    storeEvents.addEventListener('change', later);
    routeEvents.addEventListener('change', later);
  }

  /// Everything, in the present language.
  draw() {
    this.search = h('input', {
      type: 'search', class: 'search', placeholder: t('search'), 'aria-label': t('search_history'), value: this.query, id: 'search',
      oninput: () => { this.query = this.search.value; this.drawList(); },
      onkeydown: (event) => { if (event.key === 'ArrowDown') this.list.querySelector('a')?.focus(); },
    });
    this.list = h('nav', { class: 'history', 'aria-label': t('conversations') });
    this.list.addEventListener('keydown', (event) => this.move(event));
    this.files = h('input', { type: 'file', accept: '.json,application/json', multiple: true, hidden: true, 'aria-label': t('import'), onchange: () => this.import() });
    const views = registered();
    this.element.setAttribute('aria-label', t('conversations'));
    this.element.replaceChildren(
      h('button', { type: 'button', class: 'button new-chat', onclick: () => { go('chat'); this.actions.closeOnPhone(); } }, icon('compose'), t('new_chat')),
      ...(views.length > 1 ? [h('nav', { class: 'views' }, views.map(([name, view]) =>
        h('a', { href: `#/${name}`, 'aria-current': route().name === name ? 'page' : null }, icon(view.icon), view.label())))] : []),
      h('div', { class: 'search-box' }, icon('search'), this.search),
      this.list,
      h('footer', {},
        iconButton('upload', t('import'), () => this.files.click()),
        iconButton('download', t('export_all'), () => this.exportAll()),
        iconButton('language', t('language'), () => change({ language: languages[(languages.indexOf(language()) + 1) % languages.length] }), { id: 'language' }),
        iconButton(settings.theme, t(`theme_${settings.theme}`), () => change({ theme: themes[(themes.indexOf(settings.theme) + 1) % themes.length] }), { id: 'theme' }),
        iconButton('keyboard', t('shortcuts'), this.actions.showShortcuts)),
      this.files);
    this.drawList();
  }

  drawList() {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = conversations().filter((one) => words.every((word) => one.title.toLowerCase().includes(word) || one.digest.includes(word)));
    const focused = this.list.contains(document.activeElement) ? document.activeElement.closest('li')?.dataset.id : null;
    const groups = new Map();
    for (const one of found) {
      const group = groupOf(one);
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(one);
    }
    this.list.replaceChildren(...[...groups].map(([group, members]) =>
      h('section', {}, h('h2', {}, t(group)), h('ul', {}, members.map((one) => this.row(one))))));
    if (!found.length) this.list.append(h('p', { class: 'note' }, t(words.length ? 'no_matches' : 'no_history')));
    if (focused) this.list.querySelector(`li[data-id="${focused}"] a`)?.focus();
  }

  row(conversation) {
    const here = route().name === 'chat' && route().argument === conversation.id;
    const title = conversation.title || t('untitled');
    const more = iconButton('more', `${t('more')}: ${title}`, () => this.menu(conversation, more), { 'aria-haspopup': 'menu', 'aria-expanded': 'false' });
    return h('li', { dataset: { id: conversation.id }, class: here ? 'here' : null },
      h('a', { href: `#/chat/${conversation.id}`, 'aria-current': here ? 'page' : null, title, dir: 'auto', onclick: () => this.actions.closeOnPhone() }, title), more);
  }

  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [...this.list.querySelectorAll('a')];
    const at = links.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    if (at + step < 0) this.search.focus();
    else links[at + step]?.focus();
  }

  menu(conversation, anchor) {
    menu(anchor, [
      { label: t('rename'), icon: 'edit', run: () => this.rename(conversation) },
      { label: t(conversation.pinned ? 'unpin' : 'pin'), icon: 'pin', run: () => { conversation.pinned = !conversation.pinned; save(conversation); } },
      { label: t('export_json'), icon: 'download', run: () => this.export(conversation, 'json') },
      { label: t('export_markdown'), icon: 'download', run: () => this.export(conversation, 'md') },
      { label: t('remove'), icon: 'trash', danger: true, run: () => this.remove(conversation) },
    ]);
  }

  async rename(conversation) {
    const title = await ask(t('rename'), conversation.title, t('title'));
    if (!title) return;
    Object.assign(conversation, { title, named: true });
    await save(conversation);
  }

  async remove(conversation) {
    const here = route().argument === conversation.id;
    const restore = await remove(conversation);
    if (here) go('chat');
    toast(t('deleted'), { action: { label: t('undo'), run: restore }, seconds: 8 });
  }

  async export(conversation, kind) {
    const nodes = await nodesOf(conversation.id);
    const names = { user: t('you'), assistant: t('assistant'), image: t('image'), speech: t('speech'), music: t('music') };
    const text = kind === 'json' ? JSON.stringify(toJson(conversation, nodes), null, 2) : toMarkdown(conversation, nodes, names);
    download(new Blob([text], { type: kind === 'json' ? 'application/json' : 'text/markdown' }), fileName(conversation.title, kind));
  }

  async exportAll() {
    const all = [];
    for (const one of conversations()) all.push(toJson(one, await nodesOf(one.id)));
    download(new Blob([JSON.stringify({ conversations: all }, null, 2)], { type: 'application/json' }), 'tessera-conversations.json');
  }

  async import() {
    const files = [...this.files.files];
    this.files.value = '';
    let count = 0;
    let first = null;
    for (const file of files) {
      try {
        const found = readFile(await file.text());
        if (!found.length) throw new Error(t('import_bad'));
        for (const { conversation, nodes } of found) await save(conversation, nodes);
        first ??= found[0].conversation.id;
        count += found.length;
      } catch (error) {
        toast(t('import_failed', { file: file.name, reason: error.message }), { kind: 'error' });
      }
    }
    if (!count) return;
    toast(t('imported', { count }));
    if (conversationOf(first)) go('chat', first);
  }
}
