// The server's OpenAI-compatible routes, as the page uses them.
import { apiKey } from './settings.js';

/// What a request can end with. `kind`: network, stream, context, or the HTTP status as a string; `retryAfter` in seconds;
/// `code` as the server gave it.
export class ApiError extends Error {
  constructor(kind, message, retryAfter = 0, code = null) {
    super(message);
    this.kind = kind;
    this.retryAfter = retryAfter;
    this.code = code;
  }
}

function headers(extra = {}) {
  const key = apiKey();
  return key ? { ...extra, Authorization: `Bearer ${key}` } : extra;
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('network', error.message);
  }
  if (response.ok) return response;
  const text = await response.text().catch(() => '');
  let body = null;
  try {
    body = JSON.parse(text).error;
  } catch { /* not JSON: a proxy's page, shown by its beginning */ }
  throw errorOf(response.status, body, text, Number(response.headers.get('Retry-After')) || 0);
}

// An error in a stream has no status of its own.
const kStatusOfType = {
  invalid_request_error: 400, authentication_error: 401, permission_error: 403, not_found_error: 404, rate_limit_error: 429,
  not_supported_error: 501, unavailable_error: 503,
};

function errorOf(status, body, text, retryAfter = 0) {
  const message = typeof body === 'string' ? body : body?.message ?? text.slice(0, 300);
  const tooLong = body?.code === 'context_length_exceeded' || (status === 400 && /context (length|window)|longer than the context/i.test(message));
  return new ApiError(tooLong ? 'context' : String(status), message, retryAfter, body?.code ?? null);
}

// "audio" is what other servers call speech; a server that tells nothing has a text model.
const modalities = (names) => (names ?? ['text']).map((name) => (name === 'audio' ? 'speech' : String(name)));

/// The models: [{id, input, output (of text, image, speech, music), context in tokens or 0, voices}].
export async function listModels(signal) {
  const response = await request('v1/models', { headers: headers(), signal });
  const body = await response.json();
  return (body.data ?? []).map((model) => ({
    id: String(model.id),
    input: modalities(model.input_modalities ?? model.capabilities?.input),
    output: modalities(model.output_modalities ?? model.capabilities?.output),
    context: model.max_model_len ?? 0,
    voices: (model.voices ?? []).map(String),
  }));
}

/// The data of server-sent events, one string each. Comments and other fields are skipped.
export async function* serverEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let data = [];
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split('\n');
      rest = lines.pop();
      for (const raw of lines) {
        const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
        if (line === '') {
          if (data.length) yield data.join('\n');
          data = [];
        } else if (line.startsWith('data:')) {
          data.push(line.slice(line[5] === ' ' ? 6 : 5));
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/// Streams a chat completion: yields the chunks as objects. Throws ApiError, or AbortError after signal.
export async function* streamChat(body, signal) {
  const response = await request('v1/chat/completions', {
    method: 'POST', headers: headers({ 'Content-Type': 'application/json' }), body: JSON.stringify(body), signal,
  });
  let complete = false;
  try {
    for await (const data of serverEvents(response.body)) {
      if (data === '[DONE]') {
        complete = true;
        break;
      }
      const chunk = JSON.parse(data);
      if (chunk.error) throw errorOf(kStatusOfType[chunk.error.type] ?? 500, chunk.error, '');
      yield chunk;
    }
  } catch (error) {
    if (error.name === 'AbortError' || error instanceof ApiError) throw error;
    throw new ApiError('stream', error.message);
  }
  if (!complete) throw new ApiError('stream', '');
}
