// The history: conversations and their messages in IndexedDB, one record a message so that a reply never rewrites
// earlier media. Where the browser keeps nothing (some private windows), the same in memory.
const kName = 'tessera';

export const storeEvents = new EventTarget();
export const changed = () => storeEvents.dispatchEvent(new Event('change'));

const promised = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

class Database {
  static async open() {
    const request = indexedDB.open(kName, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore('conversations', { keyPath: 'id' });
      request.result.createObjectStore('messages', { keyPath: 'id' }).createIndex('conversation', 'conversation');
    };
    const opened = new Database();
    opened.base = await promised(request);
    opened.base.onversionchange = () => opened.base.close();
    return opened;
  }

  run(names, mode, work) {
    return new Promise((resolve, reject) => {
      const transaction = this.base.transaction(names, mode);
      let result;
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
      Promise.resolve(work(transaction)).then((value) => { result = value; }, reject);
    });
  }

  all() {
    return this.run(['conversations'], 'readonly', (tx) => promised(tx.objectStore('conversations').getAll()));
  }

  messages(id) {
    return this.run(['messages'], 'readonly', (tx) => promised(tx.objectStore('messages').index('conversation').getAll(id)));
  }

  put(conversation, nodes) {
    return this.run(['conversations', 'messages'], 'readwrite', (tx) => {
      if (conversation) tx.objectStore('conversations').put(conversation);
      for (const node of nodes) tx.objectStore('messages').put(node);
    });
  }

  remove(id) {
    return this.run(['conversations', 'messages'], 'readwrite', async (tx) => {
      tx.objectStore('conversations').delete(id);
      const keys = await promised(tx.objectStore('messages').index('conversation').getAllKeys(id));
      for (const key of keys) tx.objectStore('messages').delete(key);
    });
  }
}

class Memory {
  constructor() {
    this.conversations = new Map();
    this.nodes = new Map();
  }

  async all() { return [...this.conversations.values()]; }
  async messages(id) { return [...this.nodes.values()].filter((node) => node.conversation === id); }
  async put(conversation, nodes) {
    if (conversation) this.conversations.set(conversation.id, conversation);
    for (const node of nodes) this.nodes.set(node.id, node);
  }
  async remove(id) {
    this.conversations.delete(id);
    for (const node of await this.messages(id)) this.nodes.delete(node.id);
  }
}

let backend = null;
let list = [];
const loaded = new Map();  // conversation id -> its nodes, the same objects for all who ask
const channel = 'BroadcastChannel' in window ? new BroadcastChannel(kName) : null;

async function load() {
  list = await backend.all();
  changed();
}

/// Opens the history; false when it will not outlive the tab.
export async function openStore() {
  try {
    backend = await Database.open();
  } catch {
    backend = new Memory();
  }
  await load();
  channel?.addEventListener('message', async () => {
    const known = new Map(list.map((one) => [one.id, one]));
    list = (await backend.all()).map((one) => (known.has(one.id) ? Object.assign(known.get(one.id), one) : one));
    changed();
  });
  return backend instanceof Database;
}

/// All conversations, pinned first, then by the last change.
export const conversations = () =>
  [...list].sort((a, b) => (b.pinned ? 1 : 0) - (a.pinned ? 1 : 0) || b.updated - a.updated);

export const conversationOf = (id) => list.find((one) => one.id === id) ?? null;

export async function nodesOf(id) {
  if (!loaded.has(id)) loaded.set(id, await backend.messages(id));
  return loaded.get(id);
}

/// Keeps a conversation and those of its nodes that changed. Resolves with false when the browser refused.
export async function save(conversation, nodes = []) {
  if (!list.some((one) => one.id === conversation.id)) list.push(conversation);
  if (!loaded.has(conversation.id)) loaded.set(conversation.id, []);
  const known = loaded.get(conversation.id);
  for (const node of nodes) if (!known.includes(node)) known.push(node);
  changed();
  try {
    await backend.put(conversation, nodes);
  } catch {
    storeEvents.dispatchEvent(new Event('full'));
    return false;
  }
  channel?.postMessage(conversation.id);
  return true;
}

/// Deletes; resolves with a function that brings it back.
export async function remove(conversation) {
  const nodes = await nodesOf(conversation.id);
  list = list.filter((one) => one.id !== conversation.id);
  loaded.delete(conversation.id);
  changed();
  await backend.remove(conversation.id);
  channel?.postMessage(conversation.id);
  return () => save(conversation, nodes);
}
