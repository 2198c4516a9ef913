// Files and recordings as the API takes them: pictures as data URLs (made smaller above a limit), sound as 16-bit mono
// WAV. Nothing here needs the network: data URLs are decoded by hand because the page's policy lets fetch reach the
// server alone.
export const kMaxFileBytes = 64 << 20;
const kMaxSide = 1536;
const kMaxPictureBytes = 3 << 20;
const kSpeechRate = 24000;
const kMusicRate = 32000;

/// Bytes of a base64 string.
export function bytesOfBase64(base64) {
  const binary = atob(base64.replace(/\s/g, ''));
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export function base64OfBytes(bytes) {
  let binary = '';
  for (let i = 0; i < bytes.length; i += 0x8000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(binary);
}

export const dataUrl = (bytes, type) => `data:${type};base64,${base64OfBytes(bytes)}`;

/// {type, base64} of a data URL, or null.
export function splitDataUrl(url) {
  const match = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w=.-]+)*;base64,/.exec(url);
  return match ? { type: match[1], base64: url.slice(match[0].length) } : null;
}

export function blobOfDataUrl(url) {
  const parts = splitDataUrl(url);
  return parts ? new Blob([bytesOfBase64(parts.base64)], { type: parts.type }) : null;
}

/// A picture's URL when it may be shown: a data URL of a raster format.
export const isPictureUrl = (url) => /^data:image\/(png|jpeg|webp|gif|bmp|avif);base64,/.test(url);

// ---- pictures ----

// The Exif orientation of a JPEG file, 1 when there is none.
function orientationOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 65536));
  for (let at = 2; at + 14 < view.byteLength && view.getUint8(at) === 0xff; at += 2 + view.getUint16(at + 2)) {
    if (view.getUint16(at) !== 0xffe1 || view.getUint32(at + 4) !== 0x45786966) continue;
    const base = at + 10;
    const little = view.getUint16(base) === 0x4949;
    const entries = base + view.getUint32(base + 4, little);
    if (entries + 2 > view.byteLength) return 1;
    for (let i = 0; i < view.getUint16(entries, little) && entries + 14 + i * 12 <= view.byteLength; i++) {
      if (view.getUint16(entries + 2 + i * 12, little) === 0x0112) return view.getUint16(entries + 10 + i * 12, little);
    }
    return 1;
  }
  return 1;
}

/// A picture file as {type: 'image', url, width, height}. PNG, JPEG and WebP within the limits pass as they are; others
/// are drawn anew, at most kMaxSide pixels a side, upright. Throws when the browser cannot read it.
export async function pictureOfFile(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
  const bytes = new Uint8Array(await file.arrayBuffer());
  const scale = Math.min(1, kMaxSide / Math.max(bitmap.width, bitmap.height));
  const known = /^image\/(png|jpeg|webp)$/.test(file.type);
  const upright = file.type !== 'image/jpeg' || orientationOf(bytes) === 1;
  if (known && upright && scale === 1 && bytes.length <= kMaxPictureBytes) {
    const part = { type: 'image', url: dataUrl(bytes, file.type), width: bitmap.width, height: bitmap.height };
    bitmap.close();
    return part;
  }
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  // Lossless where the file was and that stays small.
  let url = file.type === 'image/jpeg' ? '' : canvas.toDataURL('image/png');
  if (!url || url.length > kMaxPictureBytes) url = canvas.toDataURL('image/jpeg', 0.92);
  return { type: 'image', url, width: canvas.width, height: canvas.height };
}

// ---- sound ----

/// 16-bit mono WAV bytes of samples in [-1, 1].
export function encodeWav(samples, rate) {
  const bytes = new Uint8Array(44 + samples.length * 2);
  const view = new DataView(bytes.buffer);
  const text = (at, word) => { for (let i = 0; i < 4; i++) view.setUint8(at + i, word.charCodeAt(i)); };
  text(0, 'RIFF'); view.setUint32(4, 36 + samples.length * 2, true); text(8, 'WAVE');
  text(12, 'fmt '); view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, rate * 2, true); view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, 'data'); view.setUint32(40, samples.length * 2, true);
  for (let i = 0; i < samples.length; i++) {
    view.setInt16(44 + i * 2, Math.round(Math.max(-1, Math.min(1, samples[i])) * 32767), true);
  }
  return bytes;
}

/// Joins the pieces of streamed sound: "pcm16" gets a WAV header, "wav" has its lengths put right (a server that streams
/// cannot know them at the start).
export function joinSound(pieces, format, rate = 24000) {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const joined = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  if (format === 'pcm16' || format === 'pcm') {
    const pcm = new DataView(joined.buffer);
    return encodeWav(Float32Array.from({ length: length >> 1 }, (_, i) => pcm.getInt16(i * 2, true) / 32767), rate);
  }
  const view = new DataView(joined.buffer);
  if (length < 44 || view.getUint32(0) !== 0x52494646) return joined;
  view.setUint32(4, length - 8, true);
  for (let chunk = 12; chunk + 8 <= length;) {
    if (view.getUint32(chunk) === 0x64617461) {
      view.setUint32(chunk + 4, length - chunk - 8, true);
      break;
    }
    chunk += 8 + view.getUint32(chunk + 4, true);
  }
  return joined;
}

/// Decodes any sound that the browser reads to an AudioBuffer of one channel at `rate`.
export async function decodeSound(bytes, rate = kSpeechRate) {
  const buffer = bytes instanceof ArrayBuffer ? bytes.slice(0) : bytes.slice().buffer;
  const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(buffer);
  if (decoded.numberOfChannels === 1) return decoded;
  const mono = new AudioBuffer({ length: decoded.length, numberOfChannels: 1, sampleRate: decoded.sampleRate });
  const out = mono.getChannelData(0);
  for (let c = 0; c < decoded.numberOfChannels; c++) {
    const channel = decoded.getChannelData(c);
    for (let i = 0; i < out.length; i++) out[i] += channel[i] / decoded.numberOfChannels;
  }
  return mono;
}

/// A sound file or recording as {type: 'audio', url (WAV), kind, seconds}. Throws when the browser cannot decode it.
export async function soundOfBlob(blob, kind = 'speech') {
  const rate = kind === 'music' ? kMusicRate : kSpeechRate;
  const sound = await decodeSound(await blob.arrayBuffer(), rate);
  const bytes = encodeWav(sound.getChannelData(0), sound.sampleRate);
  return { type: 'audio', url: dataUrl(bytes, 'audio/wav'), kind, seconds: sound.duration };
}

/// `count` heights in [0, 1] of a waveform, the loudest 1.
export function peaksOf(samples, count) {
  const peaks = new Float32Array(count);
  const step = samples.length / count;
  let most = 1e-4;
  for (let i = 0; i < count; i++) {
    const end = Math.min(samples.length, Math.floor((i + 1) * step));
    for (let j = Math.floor(i * step); j < end; j++) peaks[i] = Math.max(peaks[i], Math.abs(samples[j]));
    most = Math.max(most, peaks[i]);
  }
  return peaks.map((peak) => peak / most);
}
