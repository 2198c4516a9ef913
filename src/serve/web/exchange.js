// Conversations as the API's messages: what a request sends, and what export and import read and write.
import { splitDataUrl, isPictureUrl } from './media.js';
import { digestOf, newConversation, newNode, pathOf, textOf, titleOf } from './tree.js';

const kWriterMark = 'tessera';

// Music has a part type of its own beside OpenAI's "input_audio", since it has its own tokens.
function contentPart(part) {
  if (part.type === 'text') return { type: 'text', text: part.text };
  if (part.type === 'image') return { type: 'image_url', image_url: { url: part.url } };
  const sound = splitDataUrl(part.url);
  const type = part.kind === 'music' ? 'input_music' : 'input_audio';
  return { type, [type]: { data: sound?.base64 ?? '', format: sound?.type.includes('mpeg') ? 'mp3' : 'wav' } };
}

/// One message in OpenAI form: plain text where it is text alone.
export function messageOf(node) {
  const parts = node.parts.filter((part) => part.type !== 'thoughts' && (part.type !== 'text' || part.text));
  const thoughts = node.parts.find((part) => part.type === 'thoughts')?.text;
  const content = parts.every((part) => part.type === 'text') ? textOf(parts) : parts.map(contentPart);
  return { role: node.role, content, ...(thoughts && { reasoning_content: thoughts }) };
}

/// The messages of a request: the system prompt, then the path. Replies that brought nothing are left out.
export function messagesOf(conversation, path) {
  const messages = path.filter((node) => node.parts.length).map(messageOf);
  return conversation.system ? [{ role: 'system', content: conversation.system }, ...messages] : messages;
}

/// A conversation's shown branch as an object for a JSON file.
export function toJson(conversation, nodes) {
  const path = pathOf(conversation, nodes);
  return {
    title: conversation.title,
    created: new Date(conversation.created).toISOString(),
    writer: kWriterMark,
    model: path.findLast((node) => node.model)?.model,
    messages: messagesOf(conversation, path),
  };
}

/// The same as Markdown; media stand as pictures and links with their data inside.
export function toMarkdown(conversation, nodes, names) {
  const lines = [`# ${conversation.title}`, ''];
  if (conversation.system) lines.push(`> ${conversation.system.replace(/\n/g, '\n> ')}`, '');
  for (const node of pathOf(conversation, nodes)) {
    lines.push(`## ${names[node.role] ?? node.role}`, '');
    for (const part of node.parts) {
      if (part.type === 'text') lines.push(part.text, '');
      else if (part.type === 'thoughts') lines.push(`> ${part.text.replace(/\n/g, '\n> ')}`, '');
      else if (part.type === 'image') lines.push(`![${names.image}](${part.url})`, '');
      else lines.push(`[${names[part.kind] ?? part.kind}](${part.url})`, '');
      if (part.transcript) lines.push(`> ${part.transcript.replace(/\n/g, '\n> ')}`, '');
    }
  }
  return lines.join('\n');
}

/// A file name without what file systems dislike.
export const fileName = (title, ending) =>
  `${title.replace(/[\\/:*?"<>|\x00-\x1f]+/g, ' ').trim().slice(0, 60) || 'conversation'}.${ending}`;

function importedPart(part) {
  if (part?.type === 'text' && typeof part.text === 'string') return { type: 'text', text: part.text };
  if (part?.type === 'image_url' && isPictureUrl(String(part.image_url?.url))) return { type: 'image', url: part.image_url.url };
  const sound = { input_audio: 'speech', input_music: 'music' }[part?.type];
  if (sound && /^[A-Za-z0-9+/=\s]+$/.test(String(part[part.type]?.data))) {
    const { data, format } = part[part.type];
    return { type: 'audio', url: `data:audio/${format === 'mp3' ? 'mpeg' : 'wav'};base64,${data}`, kind: sound };
  }
  return null;
}

function importedParts(content) {
  if (typeof content === 'string') return content ? [{ type: 'text', text: content }] : [];
  return Array.isArray(content) ? content.map(importedPart).filter(Boolean) : [];
}

/// {conversation, nodes} of one exported object or a bare list of messages; null when there are none. Nothing in a file
/// is trusted: roles, parts and addresses outside the known ones are dropped.
export function fromJson(value) {
  const messages = Array.isArray(value) ? value : value?.messages;
  if (!Array.isArray(messages)) return null;
  const conversation = newConversation();
  const nodes = [];
  for (const message of messages) {
    if (['system', 'developer'].includes(message?.role) && !nodes.length) {
      conversation.system = textOf(importedParts(message.content));
    } else if (['user', 'assistant'].includes(message?.role)) {
      const node = newNode(conversation, nodes.at(-1)?.id ?? null, message.role, importedParts(message.content));
      const thoughts = message.role === 'assistant' && message.reasoning_content;
      if (thoughts && typeof thoughts === 'string') node.parts.unshift({ type: 'thoughts', text: thoughts });
      node.created += nodes.length;
      if (message.role === 'assistant' && typeof value.model === 'string') node.model = value.model;
      nodes.push(node);
    }
  }
  if (!nodes.length) return null;
  const created = Date.parse(value.created);
  if (created) conversation.created = created;
  conversation.title = typeof value.title === 'string' && value.title ? value.title.slice(0, 200) : titleOf(nodes[0].parts);
  conversation.named = true;
  conversation.digest = digestOf(conversation, nodes);
  return { conversation, nodes };
}

/// All conversations in a JSON text: one object, a list of them, {conversations: [...]}, or a list of messages.
export function readFile(text) {
  const value = JSON.parse(text);
  const one = fromJson(value);
  if (one) return [one];
  const list = Array.isArray(value) ? value : value?.conversations;
  return Array.isArray(list) ? list.map(fromJson).filter(Boolean) : [];
}
