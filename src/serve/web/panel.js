// The settings beside a conversation: system prompt, sampling, API key. An empty field leaves the choice to the model.
import { append, h, iconButton, uniqueId } from './dom.js';
import { t } from './i18n.js';
import { currentModel, refreshModels } from './models.js';
import { apiKey, change, changeSampling, setApiKey, settings } from './settings.js';
import { save } from './store.js';
import { shownView } from './router.js';

function field(label, control, { hint = '', extra = null } = {}) {
  const id = uniqueId('field');
  control.id ||= id;
  const hintId = hint && `${id}-hint`;
  if (hint) control.setAttribute('aria-describedby', hintId);
  return h('div', { class: 'field' },
    h('div', { class: 'field-head' }, h('label', { for: control.id }, label), extra), control,
    hint && h('p', { class: 'hint', id: hintId }, hint));
}

// A slider with its number; reset gives the choice back to the model.
function slider(name, label, { min, max, step, start }) {
  const value = () => settings.sampling[name];
  const range = h('input', { type: 'range', min, max, step });
  const shown = h('output', {});
  const reset = iconButton('close', t('reset'), () => set(null));
  const draw = () => {
    range.value = value() ?? start;
    shown.textContent = value() === undefined ? t('from_model') : String(value());
    reset.hidden = value() === undefined;
    range.classList.toggle('unset', value() === undefined);
    range.setAttribute('aria-valuetext', shown.textContent);
  };
  const set = (number) => {
    changeSampling(name, number);
    draw();
  };
  range.addEventListener('input', () => set(Number(range.value)));
  draw();
  return field(label, range, { extra: h('span', { class: 'value' }, shown, reset) });
}

function integer(name, label, placeholder, { extra = null, min = 1 } = {}) {
  const input = h('input', {
    type: 'number', min, step: 1, placeholder, value: settings.sampling[name] ?? '', inputmode: 'numeric',
    onchange: () => {
      const number = Math.floor(Number(input.value));
      const good = input.value !== '' && Number.isSafeInteger(number) && number >= min;
      if (!good) input.value = '';
      changeSampling(name, good ? number : null);
    },
  });
  return { input, element: field(label, input, { extra: extra?.(input) }) };
}

function systemField() {
  const conversation = shownView()?.conversation;
  const area = h('textarea', { rows: 4, placeholder: t('system_hint'), value: conversation?.system ?? '', id: 'system-prompt',
    onchange: () => {
      if (!conversation) return;
      conversation.system = area.value.trim();
      if (shownView().nodes?.length) save(conversation);
    } });
  return field(t('system_prompt'), area);
}

function voiceField() {
  const voices = currentModel()?.voices ?? [];
  if (!voices.length) return null;
  const select = h('select', { onchange: () => change({ voice: select.value }) },
    ['', ...voices].map((voice) => h('option', { value: voice, selected: voice === settings.voice }, voice || t('from_model'))));
  return field(t('voice'), select);
}

function keyField() {
  const input = h('input', { type: 'password', value: apiKey(), autocomplete: 'off', spellcheck: 'false', id: 'api-key',
    onchange: () => {
      setApiKey(input.value.trim());
      refreshModels();
    } });
  // A form, as password managers expect it.
  return h('form', { onsubmit: (event) => event.preventDefault() }, field(t('api_key'), input, { hint: t('api_key_hint') }));
}

/// Draws the panel into its element, for the view on the page.
export function drawPanel(element, close) {
  const seed = integer('seed', t('seed'), t('seed_hint'), {
    min: 0, extra: (input) => iconButton('dice', t('new_seed'), () => {
      input.value = crypto.getRandomValues(new Uint32Array(1))[0] >>> 1;
      input.dispatchEvent(new Event('change'));
    }),
  });
  const stops = h('textarea', {
    rows: 2, placeholder: t('stop_hint'), value: (settings.sampling.stop ?? []).join('\n'), spellcheck: 'false',
    onchange: () => changeSampling('stop', stops.value.split('\n').filter(Boolean).slice(0, 4)),
  });
  element.setAttribute('aria-label', t('settings'));
  element.replaceChildren();
  append(element, [
    h('header', {}, h('h2', {}, t('settings')), iconButton('close', t('close'), close)),
    h('div', { class: 'fields' },
      systemField(),
      h('h3', {}, t('sampling'),
        h('button', { type: 'button', class: 'text-button', onclick: () => { change({ sampling: {} }); drawPanel(element, close); } }, t('reset_all'))),
      slider('temperature', t('temperature'), { min: 0, max: 2, step: 0.05, start: 0.8 }),
      slider('top_p', t('top_p'), { min: 0.05, max: 1, step: 0.05, start: 0.95 }),
      integer('max_tokens', t('max_tokens'), t('from_model')).element,
      seed.element,
      field(t('stop_strings'), stops),
      voiceField(),
      h('h3', {}, t('connection')),
      keyField()),
  ]);
}
