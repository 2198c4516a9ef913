// The message field: text, attachments by button, drop and paste, the microphone, the modality of the reply.
import { append, clock, h, icon, iconButton, toast } from './dom.js';
import { t } from './i18n.js';
import { kMaxFileBytes, pictureOfFile, soundOfBlob } from './media.js';
import { currentModel, replyAs, takes, takesSound } from './models.js';
import { player } from './player.js';
import { Recorder } from './recorder.js';
import { change } from './settings.js';

const kMaxParts = 8;

export class Composer {
  /// `actions`: send(parts), stop(), editLast().
  constructor(actions) {
    this.actions = actions;
    this.parts = [];
    this.busy = false;
    this.field = h('textarea', {
      id: 'message', rows: 1, placeholder: t('placeholder'), 'aria-label': t('message'), enterkeyhint: 'send', autocomplete: 'off',
      oninput: () => this.refresh(), onkeydown: (event) => this.key(event), onpaste: (event) => this.paste(event),
    });
    this.files = h('input', { type: 'file', multiple: true, hidden: true, 'aria-label': t('attach'), onchange: () => this.chosen() });
    this.attachments = h('ul', { class: 'attachments' });
    this.tools = h('div', { class: 'tools' });
    this.send = h('button', { type: 'submit', class: 'send' });
    this.element = h('form', { class: 'composer', onsubmit: (event) => { event.preventDefault(); this.submit(); } },
      this.attachments, this.field, h('div', { class: 'row' }, this.tools, this.send), this.files);
    this.refresh();
  }

  /// Builds what depends on the model.
  refreshTools() {
    const kinds = [takes('image') && 'image/*', takesSound() && 'audio/*'].filter(Boolean);
    this.files.accept = kinds.join(',');
    const outputs = currentModel()?.output ?? ['text'];
    this.tools.replaceChildren();
    append(this.tools, [
      kinds.length > 0 && iconButton('attach', t('attach'), () => this.files.click()),
      takes('speech') && iconButton('mic', t('record'), () => this.record()),
      outputs.length > 1 && this.modalities(outputs),
    ]);
  }

  modalities(outputs) {
    return h('fieldset', { class: 'modalities' }, h('legend', { class: 'visually-hidden' }, t('reply_as')), ['auto', ...outputs].map((name) =>
      h('label', { class: `modality modality-${name}`, title: `${t('reply_as')}: ${t(name)}` },
        h('input', { type: 'radio', name: 'reply-as', value: name, checked: name === replyAs(), onchange: () => change({ replyAs: name }) }),
        icon(name), h('span', {}, t(name)))));
  }

  setBusy(busy) {
    this.busy = busy;
    this.refresh();
  }

  refresh() {
    const { field } = this;
    field.style.height = 'auto';
    field.style.height = `${Math.min(field.scrollHeight, innerHeight * 0.4)}px`;
    const stopping = this.busy;
    const label = t(stopping ? 'stop' : 'send');
    this.send.replaceChildren(icon(stopping ? 'stop' : 'send'));
    this.send.setAttribute('aria-label', label);
    this.send.title = label;
    this.send.classList.toggle('stopping', stopping);
    this.send.disabled = !stopping && (!currentModel() || (!field.value.trim() && !this.parts.length));
  }

  submit() {
    if (this.busy) {
      this.actions.stop();
      return;
    }
    const text = this.field.value.trim();
    if (this.send.disabled || this.recorder) return;
    const parts = text ? [...this.parts, { type: 'text', text }] : this.parts;
    this.clear();
    this.actions.send(parts);
  }

  clear() {
    this.parts = [];
    this.field.value = '';
    this.drawAttachments();
    this.refresh();
  }

  key(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
      event.preventDefault();
      if (!this.busy) this.submit();
    } else if (event.key === 'ArrowUp' && !this.field.value && !this.busy) {
      event.preventDefault();
      this.actions.editLast();
    }
  }

  paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    this.add(files);
  }

  async chosen() {
    const files = [...this.files.files];
    this.files.value = '';
    await this.add(files);
    this.field.focus();
  }

  async add(files) {
    for (const file of files) {
      try {
        if (file.size > kMaxFileBytes) throw new Error(t('file_large', { file: file.name, limit: kMaxFileBytes >> 20 }));
        if (this.parts.length >= kMaxParts) throw new Error(t('too_many', { n: kMaxParts }));
        const part = await partOfFile(file);
        this.parts.push({ ...part, name: file.name });
      } catch (error) {
        toast(error.message, { kind: 'error' });
      }
    }
    this.drawAttachments();
    this.refresh();
  }

  drawAttachments() {
    this.attachments.replaceChildren(...this.parts.map((part, i) => {
      const name = t(part.type === 'image' ? 'picture_n' : 'recording_n', { n: i + 1 });
      const shown = part.type === 'image' ? h('img', { src: part.url, alt: name }) : player(part, { compact: true });
      return h('li', { class: part.type }, shown, part.type === 'audio' && this.kindOf(part),
        iconButton('close', t('remove_attachment', { name }), () => {
          this.parts.splice(this.parts.indexOf(part), 1);
          this.drawAttachments();
          this.refresh();
          this.field.focus();
        }, { class: 'icon-button remove' }));
    }));
  }

  // Speech and music have codecs of their own, so the user says which it is where the model takes both.
  kindOf(part) {
    if (!takes('speech') || !takes('music')) return null;
    return h('select', { 'aria-label': t('sound_is'), onchange: (event) => { part.kind = event.target.value; } },
      ['speech', 'music'].map((kind) => h('option', { value: kind, selected: part.kind === kind }, t(kind))));
  }

  // ---- microphone ----

  async record() {
    const recorder = new Recorder();
    try {
      await recorder.start();
    } catch (error) {
      toast(error.message, { kind: 'error', seconds: 8 });
      return;
    }
    this.recorder = recorder;
    const time = h('span', { class: 'time' }, '0:00');
    const bars = Array.from({ length: 24 }, () => h('i'));
    const strip = h('div', { class: 'recording', role: 'group', 'aria-label': t('recording') },
      iconButton('trash', t('discard_recording'), () => end(false)),
      h('div', { class: 'level' }, bars), time,
      iconButton('check', t('finish_recording'), () => end(true), { class: 'icon-button primary' }));
    const levels = new Array(bars.length).fill(0);
    const timer = setInterval(() => {
      levels.shift();
      levels.push(recorder.level());
      bars.forEach((bar, i) => { bar.style.height = `${8 + 92 * levels[i]}%`; });
      time.textContent = clock(recorder.seconds);
    }, 80);
    const end = async (keep) => {
      clearInterval(timer);
      strip.remove();
      this.element.classList.remove('is-recording');
      this.recorder = null;
      this.cancelRecording = null;
      if (!keep) recorder.discard();
      else {
        try {
          this.parts.push(await recorder.finish());
        } catch (error) {
          toast(error.message, { kind: 'error' });
        }
      }
      this.drawAttachments();
      this.refresh();
      this.field.focus();
    };
    this.cancelRecording = () => end(false);
    this.element.classList.add('is-recording');
    this.element.prepend(strip);
    strip.querySelector('.primary').focus();
  }
}

async function partOfFile(file) {
  const failed = () => new Error(t('file_unknown', { file: file.name }));
  if (file.type.startsWith('image/')) {
    if (!takes('image')) throw new Error(t('not_taken', { what: t('what_image') }));
    return pictureOfFile(file).catch(() => { throw failed(); });
  }
  if (file.type.startsWith('audio/') || file.type.startsWith('video/')) {
    if (!takesSound()) throw new Error(t('not_taken', { what: t('what_sound') }));
    return soundOfBlob(file, takes('speech') ? 'speech' : 'music').catch(() => { throw failed(); });
  }
  throw failed();
}
