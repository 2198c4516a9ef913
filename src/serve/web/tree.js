// A conversation as a tree: every message knows its parent, editing and regenerating add siblings, and `chosen` says
// which child of a parent is shown. Pure functions over
//   conversation {id, title, named, created, updated, pinned, system, chosen: {parent id or 'root': child id}, digest}
//   node {id, conversation, parent (id or null), role, parts, created, status, …}
// Parts: {type: 'text', text} | {type: 'thoughts', text} | {type: 'image', url} | {type: 'audio', url, kind, seconds, transcript}.
export const newId = () => `${Date.now().toString(36)}-${crypto.getRandomValues(new Uint32Array(2)).join('')}`;

export function newConversation(values = {}) {
  const now = Date.now();
  return { id: newId(), title: '', named: false, created: now, updated: now, pinned: false, system: '', chosen: {}, digest: '', ...values };
}

export function newNode(conversation, parent, role, parts, values = {}) {
  return { id: newId(), conversation: conversation.id, parent, role, parts, created: Date.now(), status: 'done', ...values };
}

/// The children of `parent` (null: the first messages), oldest first.
export function childrenOf(nodes, parent) {
  return nodes.filter((node) => node.parent === parent).sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
}

/// The messages that are shown, from the first to a leaf.
export function pathOf(conversation, nodes) {
  const families = new Map();
  for (const node of nodes) {
    if (!families.has(node.parent)) families.set(node.parent, []);
    families.get(node.parent).push(node);
  }
  const path = [];
  for (let parent = null; families.has(parent) && path.length <= nodes.length;) {
    const children = childrenOf(families.get(parent), parent);
    const node = children.find((child) => child.id === conversation.chosen[parent ?? 'root']) ?? children.at(-1);
    path.push(node);
    parent = node.id;
  }
  return path;
}

/// The messages from the first to `node`.
export function ancestorsOf(nodes, node) {
  const byId = new Map(nodes.map((one) => [one.id, one]));
  const line = [];
  for (let at = node; at && line.length <= nodes.length; at = byId.get(at.parent)) line.unshift(at);
  return line;
}

export function choose(conversation, node) {
  conversation.chosen[node.parent ?? 'root'] = node.id;
}

export const textOf = (parts) => parts.filter((part) => part.type === 'text').map((part) => part.text).join('\n');

/// The first words of a message, as a title.
export function titleOf(parts) {
  const line = textOf(parts).replace(/\s+/g, ' ').trim();
  return [...line].length > 60 ? `${[...line].slice(0, 58).join('').trimEnd()}…` : line;
}

/// The text that the search looks through.
export function digestOf(conversation, nodes) {
  return [conversation.title, ...nodes.map((node) => textOf(node.parts))].join('\n').toLowerCase().slice(0, 100000);
}
