// Replies in the making. A reply belongs to its node, not to a view: it goes on while another conversation is shown, and
// whoever shows the node hears of every change.
import { ApiError, streamChat } from './api.js';
import { messagesOf } from './exchange.js';
import { bytesOfBase64, dataUrl, isPictureUrl, joinSound } from './media.js';
import { currentModel } from './models.js';
import { samplingFields, settings } from './settings.js';
import { save } from './store.js';
import { ancestorsOf, digestOf } from './tree.js';

// What has come so far is kept this often (ms), for a reload in the middle.
const kSaveEvery = 3000;

export const progress = new EventTarget();  // 'change' with detail {node}
const running = new Map();                  // node id -> AbortController

export const isRunning = (node) => running.has(node.id);
export const stop = (node) => running.get(node.id)?.abort();

const tell = (node) => progress.dispatchEvent(new CustomEvent('change', { detail: { node } }));

// Text may always accompany media; speech and music share the API's "audio" settings.
function modalityFields(replyAs) {
  if (replyAs === 'text') return { modalities: ['text'] };
  if (replyAs === 'auto') return { modalities: ['auto'], audio: { format: 'wav' } };
  const fields = { modalities: ['text', replyAs] };
  if (replyAs === 'image') return fields;
  const voice = replyAs === 'speech' && currentModel()?.voices.includes(settings.voice) ? { voice: settings.voice } : {};
  return { ...fields, audio: { format: 'wav', ...voice } };
}

class Reply {
  constructor(node) {
    this.node = node;
    this.started = performance.now();
    this.first = 0;
    this.deltas = 0;
    this.sounds = new Map();
  }

  take(chunk) {
    const { node } = this;
    const choice = chunk.choices?.[0];
    const delta = choice?.delta ?? {};
    if (delta.content || delta.reasoning_content || delta.images || delta.audio || delta.music) {
      this.first ||= performance.now();
      this.deltas++;
    }
    if (delta.reasoning_content) this.words('thoughts', delta.reasoning_content);
    if (delta.content) this.words('text', delta.content);
    for (const image of delta.images ?? []) {
      const url = image?.image_url?.url;
      if (isPictureUrl(String(url))) node.parts.push({ type: 'image', url });
    }
    if (delta.audio) this.sound(delta.audio);
    if (delta.music) this.sound({ ...delta.music, kind: 'music' });
    if (choice?.finish_reason) node.finish = choice.finish_reason;
    if (chunk.usage) node.usage = { prompt: chunk.usage.prompt_tokens, reply: chunk.usage.completion_tokens };
    if (chunk.timings?.predicted_per_second) node.rate = chunk.timings.predicted_per_second;
  }

  words(type, text) {
    const last = this.node.parts.at(-1);
    if (last?.type === type) last.text += text;
    else this.node.parts.push({ type, text });
  }

  // Pieces of one id make one recording; it is joined at the end, and its length so far is shown meanwhile.
  sound(audio) {
    const id = audio.id ?? [...this.sounds.keys()].at(-1) ?? 'sound';
    if (!this.sounds.has(id)) {
      const part = { type: 'audio', url: '', kind: audio.kind === 'music' ? 'music' : 'speech', seconds: 0, transcript: '' };
      this.sounds.set(id, { part, pieces: [], bytes: 0 });
      this.node.parts.push(part);
    }
    const sound = this.sounds.get(id);
    sound.format = audio.format ?? sound.format ?? 'wav';
    sound.rate = audio.sample_rate ?? sound.rate ?? 24000;
    if (audio.kind === 'music') sound.part.kind = 'music';
    if (audio.transcript) sound.part.transcript += audio.transcript;
    if (audio.data) {
      const bytes = bytesOfBase64(audio.data);
      sound.pieces.push(bytes);
      sound.bytes += bytes.length;
    }
  }

  finish() {
    const { node } = this;
    for (const { part, pieces, format, rate } of this.sounds.values()) {
      const bytes = joinSound(pieces, format, rate);
      part.url = pieces.length ? dataUrl(bytes, format === 'mp3' ? 'audio/mpeg' : 'audio/wav') : '';
    }
    node.parts = node.parts.filter((part) => part.type !== 'audio' || part.url);
    const ended = performance.now();
    if (!this.first) return;
    node.firstAfter = (this.first - this.started) / 1000;
    const tokens = node.usage?.reply ?? this.deltas;
    const seconds = (ended - this.first) / 1000;
    node.rate ??= tokens > 1 && seconds > 0.001 ? (tokens - 1) / seconds : 0;
    node.tokens = tokens;
  }
}

function failureOf(error) {
  if (error instanceof ApiError) return { kind: error.kind, message: error.message, code: error.code, until: error.retryAfter ? Date.now() + error.retryAfter * 1000 : 0 };
  return { kind: 'stream', message: error.message };
}

/// Fills `node`, an assistant's message that is already part of `nodes`, with the model's reply.
export async function generate(conversation, nodes, node, model, replyAs) {
  const controller = new AbortController();
  running.set(node.id, controller);
  Object.assign(node, { status: 'running', model, replyAs, parts: [], error: null, finish: '', usage: null, rate: null, tokens: 0, firstAfter: 0 });
  const reply = new Reply(node);
  let saved = performance.now();
  tell(node);
  const path = ancestorsOf(nodes, node).slice(0, -1);
  try {
    const body = {
      model, messages: messagesOf(conversation, path), stream: true, stream_options: { include_usage: true },
      ...modalityFields(replyAs), ...samplingFields(),
    };
    for await (const chunk of streamChat(body, controller.signal)) {
      reply.take(chunk);
      tell(node);
      if (performance.now() - saved > kSaveEvery) {
        saved = performance.now();
        save(conversation, [node]);
      }
    }
    node.status = 'done';
  } catch (error) {
    if (error.name === 'AbortError') node.status = 'stopped';
    else Object.assign(node, { status: 'error', error: failureOf(error) });
  }
  reply.finish();
  if (node.status === 'done' && !node.parts.length) Object.assign(node, { status: 'error', error: { kind: 'empty', message: '' } });
  running.delete(node.id);
  conversation.updated = Date.now();
  conversation.digest = digestOf(conversation, nodes);
  tell(node);
  await save(conversation, [node]);
}
