// One message on the page: its parts, what failed, and what can be done with it.
import { copyText, dialog, download, h, icon, iconButton, mark } from './dom.js';
import { isRunning } from './generation.js';
import { t } from './i18n.js';
import { MarkdownView } from './markdown.js';
import { blobOfDataUrl, isPictureUrl } from './media.js';
import { player } from './player.js';
import { textOf } from './tree.js';

/// A picture that opens large; small ones (a model's own are) are shown enlarged.
export function picture(url, label) {
  if (!isPictureUrl(url)) return h('p', { class: 'note' }, label);
  const image = h('img', { src: url, alt: label, loading: 'lazy' });
  const small = () => { if (image.naturalWidth < 160) image.classList.add('small'); };
  image.addEventListener('load', small);
  const open = () => dialog(label, () => [
    h('img', { class: 'full', src: url, alt: label }),
    h('div', { class: 'dialog-buttons' }, h('button', {
      type: 'button', class: 'button', onclick: () => download(blobOfDataUrl(url), `tessera-picture.${/^data:image\/(\w+)/.exec(url)[1]}`),
    }, icon('download'), t('save_picture'))),
  ]);
  return h('button', { type: 'button', class: 'picture', 'aria-label': `${t('enlarge')}: ${label}`, onclick: open }, image);
}

// The view of one part; `update` follows a part that grows, `fits` says whether it still shows this part.
function partView(part, role) {
  if (part.type === 'text' && role === 'assistant') {
    const view = new MarkdownView();
    return { element: view.element, fits: (other) => other.type === 'text', update: (other) => view.update(other.text) };
  }
  if (part.type === 'text') {
    const element = h('p', { class: 'plain' });
    return { element, fits: (other) => other.type === 'text', update: (other) => { element.textContent = other.text; } };
  }
  if (part.type === 'thoughts') {
    const words = h('p', { class: 'plain' });
    const element = h('details', { class: 'thoughts' }, h('summary', {}, t('thoughts')), words);
    return { element, fits: (other) => other.type === 'thoughts', update: (other) => { words.textContent = other.text; } };
  }
  const { type, url } = part;
  const fits = (other) => other.type === type && other.url === url;
  if (type === 'image') {
    return { element: picture(url, t(role === 'assistant' ? 'generated_picture' : 'attached_picture')), fits, update() {} };
  }
  const element = url
    ? h('div', { class: 'sound' }, player(part), part.transcript && h('p', { class: 'transcript' }, part.transcript))
    : h('p', { class: 'note receiving' }, icon(part.kind), t('receiving_sound'));
  return { element, fits, update() {} };
}

const kErrorTexts = ['network', 'context', 'stream', 'empty', '401', '403', '404', '413', '429', '503'];

function errorText(error) {
  const wait = Math.ceil(((error.until ?? 0) - Date.now()) / 1000);
  if (error.kind === '429' && wait > 0) return t('error_429_wait', { n: wait });
  // The server says by a code what it lacks; without one, 503 is a model that is still loading.
  if (error.message && (error.kind === '501' || (error.kind === '503' && error.code))) return error.message;
  if (kErrorTexts.includes(error.kind)) return t(`error_${error.kind}`);
  return error.kind.startsWith('5') ? t('error_500') : error.message || t('error_500');
}

function errorCard(node, actions) {
  const { error } = node;
  const text = h('p', {}, errorText(error));
  const again = h('button', { type: 'button', class: 'button', onclick: () => actions.retry(node) }, icon('again'), t('try_again'));
  const card = h('div', { class: 'error-card', role: 'alert' }, icon('warning'), h('div', {},
    text,
    error.message && error.message !== text.textContent && h('details', {}, h('summary', {}, t('details')), h('p', {}, error.message)),
    h('div', { class: 'row' }, again,
      error.kind === '401' && h('button', { type: 'button', class: 'button primary', onclick: actions.askKey }, t('enter_key')))));
  if (error.until > Date.now()) {
    again.disabled = true;
    const tick = setInterval(() => {
      text.textContent = errorText(error);
      if (error.until > Date.now() && card.isConnected) return;
      clearInterval(tick);
      again.disabled = false;
    }, 500);
  }
  return card;
}

function statsOf(node) {
  const stats = [];
  if (node.status === 'stopped') stats.push(t('stopped'));
  if (node.finish === 'length') stats.push(t('cut'));
  if (node.tokens) stats.push(t('stat_tokens', { n: node.tokens }));
  if (node.rate) stats.push(t('stat_rate', { n: node.rate < 10 ? node.rate.toFixed(1) : Math.round(node.rate) }));
  if (node.firstAfter) stats.push(t('stat_first', { n: node.firstAfter.toFixed(2) }));
  return stats.join(' · ');
}

export class MessageView {
  /// `actions`: edit(node, parts), regenerate(node), retry(node), show(node), askKey(); `siblings` are its versions.
  constructor(node, siblings, actions) {
    this.node = node;
    this.siblings = siblings;
    this.actions = actions;
    this.parts = [];
    this.body = h('div', { class: 'body' });
    this.foot = h('div', { class: 'foot' });
    this.element = h('article', {
      class: `message ${node.role}`, 'aria-label': t(node.role === 'user' ? 'you' : 'assistant'), dataset: { id: node.id },
    }, this.body, this.foot);
    this.update();
  }

  update() {
    const { node } = this;
    const busy = isRunning(node);
    if (busy) this.element.setAttribute('aria-busy', 'true');
    else this.element.removeAttribute('aria-busy');
    this.updateParts();
    this.waiting?.remove();
    this.waiting = null;
    if (busy && node.parts.at(-1)?.type !== 'text') {
      this.waiting = h('div', { class: 'waiting' }, mark(), h('span', { class: 'visually-hidden' }, t('thinking')));
      this.body.append(this.waiting);
    }
    if (this.state === `${busy}${node.status}`) return;
    this.state = `${busy}${node.status}`;
    this.card?.remove();
    this.card = !busy && node.status === 'error' ? errorCard(node, this.actions) : null;
    if (this.card) this.body.append(this.card);
    this.foot.replaceChildren(...(busy ? [] : this.footItems()));
    this.foot.hidden = node.status === 'error' && !this.foot.children.length;
  }

  updateParts() {
    const { node } = this;
    node.parts.forEach((part, i) => {
      if (this.parts[i] && !this.parts[i].fits(part)) this.dropFrom(i);
      if (!this.parts[i]) {
        this.parts[i] = partView(part, node.role);
        this.body.insertBefore(this.parts[i].element, this.waiting?.parentNode ? this.waiting : null);
      }
      if (part.type !== 'text' || this.parts[i].shown !== part.text) this.parts[i].update(part);
      this.parts[i].shown = part.text;
    });
    this.dropFrom(node.parts.length);
  }

  dropFrom(index) {
    for (const view of this.parts.splice(index)) view.element.remove();
  }

  footItems() {
    const { node, actions } = this;
    const text = textOf(node.parts);
    const items = [];
    if (this.siblings.length > 1) items.push(this.versions());
    if (text) {
      const copy = iconButton('copy', t('copy_message'), () => copyText(text, copy));
      items.push(copy);
    }
    if (node.role === 'user') items.push(iconButton('edit', t('edit'), () => this.edit()));
    else if (node.status !== 'error') items.push(iconButton('again', t('regenerate'), () => actions.regenerate(node), { class: 'icon-button regenerate' }));
    const stats = node.role === 'assistant' ? statsOf(node) : '';
    if (stats) items.push(h('span', { class: 'stats', title: node.model }, stats));
    return items;
  }

  versions() {
    const at = this.siblings.indexOf(this.node);
    const step = (by) => this.actions.show(this.siblings[at + by]);
    return h('div', { class: 'versions', role: 'group', 'aria-label': t('version_of', { n: at + 1, all: this.siblings.length }) },
      iconButton('left', t('previous_version'), () => step(-1), { disabled: at === 0 }),
      h('span', {}, `${at + 1}/${this.siblings.length}`),
      iconButton('right', t('next_version'), () => step(1), { disabled: at === this.siblings.length - 1 }));
  }

  /// Turns a user's message into a field; sending makes a new version of it.
  edit() {
    if (this.element.querySelector('form')) return;
    const media = this.node.parts.filter((part) => part.type !== 'text');
    const field = h('textarea', { rows: 3, 'aria-label': t('edit_message'), value: textOf(this.node.parts) });
    const close = () => {
      form.remove();
      this.element.classList.remove('editing');
      this.element.querySelector('.foot button')?.focus();
    };
    const form = h('form', {
      class: 'edit', onsubmit: (event) => {
        event.preventDefault();
        const text = field.value.trim();
        if (text || media.length) this.actions.edit(this.node, text ? [...media, { type: 'text', text }] : media);
      },
    }, field, h('div', { class: 'row end' },
      h('button', { type: 'button', class: 'button', onclick: close }, t('cancel')),
      h('button', { type: 'submit', class: 'button primary' }, t('send_edit'))));
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) form.requestSubmit();
      else if (event.key === 'Escape') close();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.element.classList.add('editing');
    this.element.append(form);
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }
}
