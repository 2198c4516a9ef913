// What the page remembers between visits: choices in localStorage, the API key in sessionStorage (gone with the tab).
const kKey = 'tessera.settings';
const kSampling = ['temperature', 'top_p', 'max_tokens', 'seed', 'stop'];

const defaults = {
  theme: 'auto', language: 'auto', model: '', replyAs: 'auto', voice: '', sidebar: true, panel: false, sampling: {},
};

function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(kKey) ?? '{}');
    return { ...defaults, ...stored, sampling: { ...(stored.sampling ?? {}) } };
  } catch {
    return { ...defaults, sampling: {} };
  }
}

/// The choices; change them through `change` so that they are kept and heard of.
export const settings = read();
export const changes = new EventTarget();

export function change(values) {
  Object.assign(settings, values);
  try {
    localStorage.setItem(kKey, JSON.stringify(settings));
  } catch { /* a browser that keeps nothing: the choice holds until the tab closes */ }
  changes.dispatchEvent(new CustomEvent('change', { detail: Object.keys(values) }));
}

/// Sets one sampling value; null, '' or an empty list means the model's own.
export function changeSampling(name, value) {
  const sampling = { ...settings.sampling };
  if (value === null || value === '' || (Array.isArray(value) && !value.length)) delete sampling[name];
  else sampling[name] = value;
  change({ sampling });
}

/// The sampling fields of a request: only what the user chose.
export function samplingFields() {
  const fields = {};
  for (const name of kSampling) if (settings.sampling[name] !== undefined) fields[name] = settings.sampling[name];
  return fields;
}

export const apiKey = () => sessionStorage.getItem('tessera.key') ?? '';
export function setApiKey(key) {
  if (key) sessionStorage.setItem('tessera.key', key);
  else sessionStorage.removeItem('tessera.key');
}

/// Applies the theme to the document; "auto" leaves it to prefers-color-scheme.
export function applyTheme() {
  if (settings.theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = settings.theme;
}
