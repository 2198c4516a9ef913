// The conversation view: messages of the shown branch, the message field, and what happens between them.
import { announce, h, iconButton, mark, toast } from './dom.js';
import { Composer } from './composer.js';
import { generate, isRunning, progress, stop } from './generation.js';
import { t } from './i18n.js';
import { MessageView } from './message.js';
import { currentModel, modelEvents, models, refreshModels, replyAs, takes } from './models.js';
import { change } from './settings.js';
import { go } from './router.js';
import { conversationOf, nodesOf, save } from './store.js';
import { childrenOf, choose, digestOf, newConversation, newNode, pathOf, textOf, titleOf } from './tree.js';

const drafts = new Map();  // conversation id or '' -> {text, parts}: what was written and not sent

// What an empty conversation offers, by what the model can. The bundled models read English, so those prompts are
// English whatever the page's language.
const kIdeas = [
  { key: 'idea_draw', reply: 'image', prompt: 'Draw two red circles above a cat on green grass.' },
  { key: 'idea_speak', reply: 'speech', prompt: 'Say “good morning”.' },
  { key: 'idea_music', reply: 'music', prompt: 'Play a slow tune in a minor key.' },
  { key: 'idea_see', reply: 'text', media: 'image', prompt: 'What is in this picture?' },
  { key: 'idea_hear', reply: 'text', media: 'speech', prompt: 'Write down what you hear.' },
  { key: 'idea_write', reply: 'text' },
  { key: 'idea_plan', reply: 'text' },
];

export class ChatView {
  constructor(id) {
    this.id = id;
    this.conversation = newConversation();
    this.nodes = [];
    this.views = new Map();
    this.stopping = new AbortController();
    this.composer = new Composer({
      send: (parts) => this.sendNew(parts), stop: () => this.stop(), editLast: () => this.editLast(),
    });
    this.list = h('div', { class: 'messages' });
    this.scroller = h('div', { class: 'scroller', tabindex: '-1' }, this.list);
    this.latest = iconButton('down', t('latest'), () => this.toEnd(), { class: 'icon-button latest', hidden: true });
    this.banner = h('div', { class: 'banner', role: 'status', hidden: true });
    this.element = h('section', { class: 'chat', 'aria-label': t('conversation') },
      this.banner, this.scroller, h('div', { class: 'dock' }, this.latest, this.composer.element));
    this.listen();
  }

  listen() {
    const { signal } = this.stopping;
    progress.addEventListener('change', (event) => this.changed(event.detail.node), { signal });
    modelEvents.addEventListener('change', () => this.modelsChanged(), { signal });
    // The field grows and the window changes; whoever reads the end stays there.
    this.watch = new ResizeObserver(() => { if (this.follow) this.toEnd(); });
    this.watch.observe(this.scroller);
    this.scroller.addEventListener('scroll', () => {
      const { scrollTop, scrollHeight, clientHeight } = this.scroller;
      this.follow = scrollHeight - scrollTop - clientHeight < 60;
      this.latest.hidden = this.follow;
    }, { signal });
    this.element.addEventListener('dragover', (event) => {
      if (![...event.dataTransfer.types].includes('Files')) return;
      event.preventDefault();
      this.element.dataset.drop = t('drop');
    }, { signal });
    this.element.addEventListener('dragleave', (event) => {
      if (!this.element.contains(event.relatedTarget)) delete this.element.dataset.drop;
    }, { signal });
    this.element.addEventListener('drop', (event) => {
      event.preventDefault();
      delete this.element.dataset.drop;
      this.composer.add([...event.dataTransfer.files]);
    }, { signal });
  }

  /// Loads the conversation and shows it.
  async open({ focus }) {
    this.follow = true;
    const found = this.id && conversationOf(this.id);
    if (found) {
      this.conversation = found;
      this.nodes = await nodesOf(found.id);
      for (const node of this.nodes) this.settle(node);
    }
    const draft = drafts.get(this.id);
    if (draft) {
      this.composer.field.value = draft.text;
      this.composer.parts = draft.parts;
      this.composer.drawAttachments();
    }
    this.modelsChanged();
    this.draw();
    this.toEnd();
    if (focus && matchMedia('(hover: hover)').matches) this.composer.field.focus();
  }

  // A reply that was under way when the tab was closed: what had come of it stays.
  settle(node) {
    if (node.status !== 'running' || isRunning(node)) return;
    node.status = 'stopped';
    node.parts = node.parts.filter((part) => part.type !== 'audio' || part.url);
  }

  close() {
    this.stopping.abort();
    this.watch.disconnect();
    this.composer.cancelRecording?.();
    const { field, parts } = this.composer;
    if (field.value.trim() || parts.length) drafts.set(this.id, { text: field.value, parts });
    else drafts.delete(this.id);
  }

  // ---- showing ----

  draw() {
    const path = pathOf(this.conversation, this.nodes);
    const views = new Map();
    const actions = {
      edit: (node, parts) => this.edit(node, parts), regenerate: (node) => this.regenerate(node), retry: (node) => this.retry(node),
      show: (node) => this.show(node), askKey: () => this.askKey(),
    };
    for (const node of path) {
      const siblings = childrenOf(this.nodes, node.parent);
      const old = this.views.get(node.id);
      const same = old && old.siblings.length === siblings.length && !old.element.classList.contains('editing');
      views.set(node.id, same ? old : new MessageView(node, siblings, actions));
    }
    this.views = views;
    this.list.replaceChildren(...(path.length ? [...views.values()].map((view) => view.element) : [this.welcome()]));
    this.element.classList.toggle('empty', !path.length);
    this.refreshBusy();
  }

  welcome() {
    const model = currentModel();
    const output = model?.output ?? ['text'];
    const ideas = kIdeas.filter(({ reply, media }) => output.includes(reply) && (!media || takes(media)))
      .filter(({ reply, media }) => media || reply !== 'text' || output.length === 1).slice(0, 4);
    const named = new Intl.ListFormat(document.documentElement.lang).format(output.map((name) => t(`some_${name}`)));
    const detail = output.length > 1 ? t('welcome_media', { list: named }) : t('welcome_text');
    return h('div', { class: 'welcome' }, mark(), h('h1', {}, t('welcome')), h('p', {}, model ? detail[0].toUpperCase() + detail.slice(1) : ''),
      h('div', { class: 'ideas' }, model && ideas.map((idea) =>
        h('button', { type: 'button', class: 'idea', onclick: () => this.tryIdea(idea) }, h('span', { class: `dot dot-${idea.media ?? idea.reply}` }), t(idea.key)))));
  }

  tryIdea({ key, prompt, reply, media }) {
    const text = prompt ?? t(key);
    change({ replyAs: reply });
    this.composer.refreshTools();
    this.composer.field.value = text;
    this.composer.refresh();
    this.composer.field.focus();
    if (media === 'image') this.composer.files.click();
    if (media === 'speech') this.composer.record();
  }

  modelsChanged() {
    const { error, loading } = models;
    this.banner.hidden = !error;
    if (error) {
      const known = ['network', '401', '403', '404', '429', '503'].includes(error.kind);
      this.banner.replaceChildren(h('span', {}, known ? t(`error_${error.kind}`) : t('error_500')),
        error.kind === '401'
          ? h('button', { type: 'button', class: 'text-button', onclick: () => this.askKey() }, t('enter_key'))
          : h('button', { type: 'button', class: 'text-button', onclick: refreshModels }, t('reconnect')));
    }
    this.composer.refreshTools();
    this.composer.refresh();
    if (!loading && !pathOf(this.conversation, this.nodes).length) this.draw();
  }

  askKey() {
    document.dispatchEvent(new CustomEvent('ask-key'));
  }

  current() {
    return pathOf(this.conversation, this.nodes).find(isRunning) ?? null;
  }

  refreshBusy() {
    this.composer.setBusy(Boolean(this.current()));
  }

  changed(node) {
    if (node.conversation !== this.conversation.id) return;
    this.refreshBusy();
    this.dirty = node;
    if (this.frame) return;
    // A timer, since frames stand still in a tab that is not shown and the reply must be whole when it is.
    // Drawing takes at most a quarter of the time, however long the reply is.
    this.frame = setTimeout(() => {
      const begun = performance.now();
      this.frame = 0;
      this.views.get(this.dirty.id)?.update();
      this.say(this.dirty);
      if (this.follow) this.toEnd();
      this.pause = Math.min(500, Math.max(16, 3 * (performance.now() - begun)));
    }, isRunning(node) ? this.pause ?? 16 : 0);
  }

  // Screen readers hear whole sentences, each once.
  say(node) {
    if (!this.views.has(node.id)) return;
    const text = textOf(node.parts);
    const said = this.saidOf === node ? this.said : 0;
    let end = text.length;
    if (isRunning(node)) {
      const ends = [...text.slice(said).matchAll(/[.!?。！？]\s|[。！？\n]/g)];
      end = ends.length ? said + ends.at(-1).index + 1 : said;
    }
    if (end > said) announce(text.slice(said, end));
    if (!isRunning(node) && node.parts.some((part) => part.type === 'image')) announce(t('generated_picture'));
    this.saidOf = node;
    this.said = end;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.follow = true;
    this.latest.hidden = true;
  }

  // ---- acting ----

  async sendNew(parts) {
    const path = pathOf(this.conversation, this.nodes);
    const clean = parts.map(({ name, ...part }) => part);
    await this.add(path.at(-1)?.id ?? null, clean);
  }

  async add(parent, parts) {
    const { conversation } = this;
    const model = currentModel();
    if (!model) {
      toast(t('no_model'), { kind: 'error' });
      return;
    }
    const user = newNode(conversation, parent, 'user', parts);
    if (!conversation.named && !conversation.title) {
      conversation.title = titleOf(parts) || t(parts[0].type === 'image' ? 'image' : parts[0].kind);
    }
    choose(conversation, user);
    this.nodes.push(user);
    conversation.digest = digestOf(conversation, this.nodes);
    await this.reply(user, [user]);
  }

  async reply(user, alsoSave = []) {
    const { conversation } = this;
    const node = newNode(conversation, user.id, 'assistant', [], { status: 'running' });
    this.nodes.push(node);
    choose(conversation, node);
    conversation.updated = Date.now();
    const isNew = !conversationOf(conversation.id);
    const model = currentModel().id;
    const done = generate(conversation, this.nodes, node, model, replyAs());
    this.draw();
    this.toEnd();
    await save(conversation, [...alsoSave, node]);
    if (isNew) {
      // The store's list is the one that other views share from now on.
      this.nodes = await nodesOf(conversation.id).then((kept) => { kept.splice(0, kept.length, ...this.nodes); return kept; });
      drafts.delete('');
      this.id = conversation.id;
      go('chat', conversation.id, { quiet: true });
    }
    await done;
  }

  stop() {
    const node = this.current();
    if (node) stop(node);
  }

  parentOf(node) {
    return this.nodes.find((one) => one.id === node.parent);
  }

  async regenerate(node) {
    if (this.current() || !currentModel()) return;
    await this.reply(this.parentOf(node));
  }

  /// After an error: the same place in the tree again.
  async retry(node) {
    if (this.current() || !currentModel()) return;
    const done = generate(this.conversation, this.nodes, node, currentModel().id, replyAs());
    this.draw();
    await done;
  }

  async edit(node, parts) {
    if (this.current()) return;
    await this.add(node.parent, parts);
  }

  async show(node) {
    choose(this.conversation, node);
    this.draw();
    this.views.get(node.id)?.element.querySelector('.versions button:not(:disabled)')?.focus();
    await save(this.conversation);
  }

  last(role) {
    return pathOf(this.conversation, this.nodes).findLast((node) => node.role === role);
  }

  editLast() {
    const node = this.last('user');
    if (node) this.views.get(node.id).edit();
  }

  regenerateLast() {
    const node = this.last('assistant');
    if (node) this.regenerate(node);
  }
}
