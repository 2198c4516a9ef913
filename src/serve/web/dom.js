// Building blocks of the page: elements, icons, toasts, menus, dialogs. Text only ever becomes text nodes; nothing here
// or elsewhere parses a string as HTML, so that what a model or a file says cannot become markup.
import { t } from './i18n.js';

/// h('button', {class: 'x', onclick: f, 'aria-label': 's', dataset: {id: 1}}, child, …): an element. Properties that
/// start with "on" are listeners; false, null and undefined are left out, of children too.
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'dataset') Object.assign(element.dataset, value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child);
  }
  return element;
}

// Strokes on a 24 x 24 field.
const kIcons = {
  attach: 'M12 5v14M5 12h14',
  send: 'M12 19V5M6 11l6-6 6 6',
  stop: 'M7 7h10v10H7z',
  mic: 'M12 3a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3',
  text: 'M5 7V5h14v2M12 5v14M9 19h6',
  image: 'M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9h.01',
  speech: 'M4 10v4M8 7v10M12 4v16M16 8v8M20 10v4',
  music: 'M9 18V6l11-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM20 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  edit: 'M4 20l1-4L16 5l3 3L8 19zM14 7l3 3',
  again: 'M19 8a8 8 0 1 0 1 6M20 4v5h-5',
  trash: 'M4 7h16M10 4h4M6 7l1 13h10l1-13M10 11v5M14 11v5',
  pin: 'M9 4h6l-1 6 3 3v1H7v-1l3-3zM12 14v6',
  search: 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l4.5 4.5',
  sidebar: 'M4 5h16v14H4zM9.5 5v14',
  sliders: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 4.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM8 14.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z',
  auto: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 4v16M12 8h3.5M12 12h8M12 16h6',
  light: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4',
  dark: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  language: 'M12 3.5a8.5 8.5 0 1 0 0 17 8.5 8.5 0 0 0 0-17zM3.5 12h17M12 3.5c-5 5-5 12 0 17M12 3.5c5 5 5 12 0 17',
  download: 'M12 4v11M7 11l5 5 5-5M5 20h14',
  upload: 'M12 16V5M7 9l5-5 5 5M5 20h14',
  more: 'M6 12h.01M12 12h.01M18 12h.01',
  left: 'M14.5 6l-6 6 6 6',
  right: 'M9.5 6l6 6-6 6',
  down: 'M6 10l6 6 6-6',
  close: 'M6 6l12 12M18 6L6 18',
  play: 'M8 5l11 7-11 7z',
  pause: 'M8.5 5v14M15.5 5v14',
  compose: 'M12 5H5v14h14v-7M11 13l.5-3L18 3.500l2.500 2.500L14 12.500z',
  dice: 'M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01',
  warning: 'M12 4l9 16H3zM12 10v4M12 17h.01',
  keyboard: 'M3 7h18v10H3zM7 10.500h.01M11 10.500h.01M15 10.500h.01M8 14h8',
};

const kSvg = 'http://www.w3.org/2000/svg';

function svgElement(tag, attributes) {
  const element = document.createElementNS(kSvg, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/// An icon of the table above; decoration, so hidden from assistive technology.
export function icon(name) {
  const svg = svgElement('svg', { viewBox: '0 0 24 24', class: `icon icon-${name}`, 'aria-hidden': 'true' });
  svg.append(svgElement('path', { d: kIcons[name] }));
  return svg;
}

/// The mark: four tiles, one for each of text, picture, speech and music.
export function mark() {
  const svg = svgElement('svg', { viewBox: '0 0 24 24', class: 'mark', 'aria-hidden': 'true' });
  [['text', 2, 2], ['image', 13, 2], ['speech', 2, 13], ['music', 13, 13]].forEach(([name, x, y]) => {
    svg.append(svgElement('rect', { x, y, width: 9, height: 9, rx: 2.2, class: `tile-${name}` }));
  });
  return svg;
}

/// A button that shows only an icon; `label` is its name and its tooltip.
export function iconButton(name, label, onclick, props = {}) {
  return h('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...props },
    icon(name));
}

let idCounter = 0;
/// An element id that no other element of the page has.
export const uniqueId = (prefix) => `${prefix}-${++idCounter}`;

/// A short message at the bottom. `action`: {label, run} adds a button (undo).
export function toast(text, { action = null, seconds = 5, kind = 'info' } = {}) {
  const host = document.getElementById('toasts');
  const remove = () => element.remove();
  const element = h('div', { class: `toast toast-${kind}`, role: kind === 'error' ? 'alert' : 'status' },
    h('span', {}, text),
    action && h('button', { type: 'button', class: 'text-button', onclick: () => { action.run(); remove(); } },
      action.label),
    iconButton('close', t('close'), remove));
  host.append(element);
  while (host.children.length > 3) host.firstChild.remove();
  setTimeout(remove, seconds * 1000);
}

/// A modal dialog of the browser's own kind (focus stays inside, Esc closes). `build(close)` returns its children;
/// resolves with what close was given, or null.
export function dialog(title, build) {
  return new Promise((resolve) => {
    let result = null;
    const close = (value = null) => { result = value; element.close(); };
    const id = uniqueId('dialog');
    const element = h('dialog', {
      class: 'dialog', 'aria-labelledby': id,
      onclose: () => { element.remove(); resolve(result); },
      onclick: (event) => { if (event.target === element) close(); },
    }, h('div', { class: 'dialog-box' },
      h('header', {}, h('h2', { id }, title), iconButton('close', t('close'), () => close())),
      ...build(close)));
    document.body.append(element);
    element.showModal();
    element.querySelector('[autofocus]')?.focus();
  });
}

/// Asks for one line of text; resolves with it, or null.
export function ask(title, value, label) {
  return dialog(title, (close) => {
    const input = h('input', { type: 'text', value, autofocus: true, 'aria-label': label, maxlength: 200 });
    queueMicrotask(() => input.select());
    return [h('form', { class: 'dialog-form', onsubmit: (event) => { event.preventDefault(); close(input.value.trim()); } },
      input,
      h('div', { class: 'dialog-buttons' },
        h('button', { type: 'button', class: 'button', onclick: () => close() }, t('cancel')),
        h('button', { type: 'submit', class: 'button primary' }, t('save'))))];
  });
}

/// A menu at `anchor`: items {label, icon, run, danger}. Arrow keys move, Esc closes, focus returns to the anchor.
export function menu(anchor, items) {
  document.querySelector('.menu')?.remove();
  const close = (focus = true) => {
    element.remove();
    document.removeEventListener('pointerdown', outside, true);
    anchor.setAttribute('aria-expanded', 'false');
    if (focus) anchor.focus();
  };
  const outside = (event) => { if (!element.contains(event.target)) close(false); };
  const element = h('div', { class: 'menu', role: 'menu' }, items.map((item) =>
    h('button', {
      type: 'button', role: 'menuitem', class: item.danger ? 'menu-item danger' : 'menu-item',
      onclick: () => { close(); item.run(); },
    }, icon(item.icon), item.label)));
  element.addEventListener('keydown', (event) => {
    const all = [...element.children];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) all[(all.indexOf(document.activeElement) + step + all.length) % all.length].focus();
    else if (event.key === 'Escape' || event.key === 'Tab') close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.body.append(element);
  const box = anchor.getBoundingClientRect();
  const below = box.bottom + element.offsetHeight + 8 < innerHeight;
  element.style.left = `${Math.max(8, Math.min(box.left, innerWidth - element.offsetWidth - 8))}px`;
  element.style.top = `${below ? box.bottom + 4 : Math.max(8, box.top - element.offsetHeight - 4)}px`;
  anchor.setAttribute('aria-expanded', 'true');
  document.addEventListener('pointerdown', outside, true);
  element.firstChild.focus();
}

/// Puts text on the clipboard, also where the page is not served securely; the button shows a tick for a moment.
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h('textarea', { class: 'visually-hidden', value: text });
    document.body.append(area);
    area.select();
    document.execCommand('copy');
    area.remove();
  }
  if (!button) return;
  const old = button.querySelector('svg');
  const tick = icon('check');
  old.replaceWith(tick);
  announce(t('copied'));
  setTimeout(() => tick.replaceWith(old), 1400);
}

/// Says a text through the page's polite live region, after what it said last.
export function announce(text) {
  const region = document.getElementById('announcer');
  region.append(h('p', {}, text));
  while (region.children.length > 20) region.firstChild.remove();
}

/// Offers a blob as a download.
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/// "3:07" of seconds.
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')}`;
}
