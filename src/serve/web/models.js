// The server's models and the one in use.
import { listModels } from './api.js';
import { change, settings } from './settings.js';

export const modelEvents = new EventTarget();
export const models = { list: [], error: null, loading: true };

/// The model in use: the chosen one where the server still has it, else its first; null while none is known.
export const currentModel = () => models.list.find((model) => model.id === settings.model) ?? models.list[0] ?? null;

export const takes = (kind) => currentModel()?.input.includes(kind) ?? false;
export const takesSound = () => takes('speech') || takes('music');

/// The modality to reply in: the chosen one where the model has it, else what the model decides ('auto').
export function replyAs() {
  const output = currentModel()?.output ?? ['text'];
  if (output.includes(settings.replyAs)) return settings.replyAs;
  return output.length > 1 ? 'auto' : 'text';
}

export function chooseModel(id) {
  change({ model: id });
  modelEvents.dispatchEvent(new Event('change'));
}

let timer = 0;

/// Asks the server; while it cannot be reached, again every few seconds.
export async function refreshModels() {
  clearTimeout(timer);
  try {
    models.list = await listModels();
    models.error = null;
  } catch (error) {
    models.error = error;
    if (['network', '503'].includes(error.kind)) timer = setTimeout(refreshModels, 4000);
  }
  models.loading = false;
  modelEvents.dispatchEvent(new Event('change'));
}
