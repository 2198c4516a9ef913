// A player for one piece of sound: play, a waveform to look at and seek in, time, download.
import { h, icon, iconButton, clock, download } from './dom.js';
import { blobOfDataUrl, decodeSound, peaksOf } from './media.js';
import { t } from './i18n.js';

const kBars = 64;
let playing = null;

/// `sound`: {url, kind, seconds?, transcript?}. Only one player of the page sounds at a time.
export function player(sound, { compact = false } = {}) {
  const blob = blobOfDataUrl(sound.url);
  if (!blob) return h('p', { class: 'note' }, t('bad_sound'));
  const audio = h('audio', { preload: 'metadata' });
  audio.src = URL.createObjectURL(blob);
  const bars = Array.from({ length: compact ? kBars / 2 : kBars }, () => h('i'));
  const wave = h('div', {
    class: 'wave', role: 'slider', tabindex: '0', 'aria-label': t('position'),
    'aria-valuemin': '0', 'aria-valuemax': '0', 'aria-valuenow': '0',
  }, bars);
  const time = h('span', { class: 'time' }, clock(sound.seconds));
  const toggle = iconButton('play', t('play'), () => (audio.paused ? audio.play() : audio.pause()), { class: 'icon-button play' });
  const element = h('div', { class: `player player-${sound.kind === 'music' ? 'music' : 'speech'}${compact ? ' compact' : ''}` },
    toggle, wave, time,
    !compact && iconButton('download', t('save_sound'), () => download(blob, `tessera-${sound.kind}.${extension(blob.type)}`)),
    audio);
  follow(audio, { element, toggle, wave, time, bars, known: sound.seconds ?? 0 });
  drawPeaks(blob, bars, element);
  return element;
}

const extension = (type) => ({ 'audio/mpeg': 'mp3', 'audio/ogg': 'ogg', 'audio/flac': 'flac' })[type] ?? 'wav';

async function drawPeaks(blob, bars, element) {
  try {
    const decoded = await decodeSound(await blob.arrayBuffer());
    peaksOf(decoded.getChannelData(0), bars.length).forEach((peak, i) => {
      bars[i].style.height = `${Math.round(8 + 92 * peak)}%`;
    });
    element.dataset.drawn = 'yes';
  } catch {
    element.classList.add('broken');
  }
}

function follow(audio, { element, toggle, wave, time, bars, known }) {
  const length = () => (Number.isFinite(audio.duration) ? audio.duration : known);
  const show = () => {
    const share = length() ? audio.currentTime / length() : 0;
    const lit = Math.round(share * bars.length);
    bars.forEach((bar, i) => bar.classList.toggle('lit', i < lit));
    time.textContent = clock(audio.paused && !audio.currentTime ? length() : audio.currentTime);
    wave.setAttribute('aria-valuemax', length().toFixed(1));
    wave.setAttribute('aria-valuenow', audio.currentTime.toFixed(1));
    wave.setAttribute('aria-valuetext', `${clock(audio.currentTime)} / ${clock(length())}`);
  };
  const state = () => {
    const label = t(audio.paused ? 'play' : 'pause');
    toggle.replaceChildren(icon(audio.paused ? 'play' : 'pause'));
    toggle.setAttribute('aria-label', label);
    toggle.title = label;
    element.classList.toggle('playing', !audio.paused);
  };
  audio.addEventListener('play', () => {
    if (playing && playing !== audio) playing.pause();
    playing = audio;
    state();
    const frame = () => { if (!audio.paused) { show(); requestAnimationFrame(frame); } };
    frame();
  });
  audio.addEventListener('pause', () => { state(); show(); });
  audio.addEventListener('ended', () => { audio.currentTime = 0; show(); });
  audio.addEventListener('loadedmetadata', show);
  audio.addEventListener('error', () => element.classList.add('broken'));
  const seek = (seconds) => {
    audio.currentTime = Math.max(0, Math.min(length(), seconds));
    show();
  };
  const point = (event) => {
    const box = wave.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length());
  };
  wave.addEventListener('pointerdown', (event) => {
    wave.setPointerCapture(event.pointerId);
    point(event);
  });
  wave.addEventListener('pointermove', (event) => { if (event.buttons) point(event); });
  wave.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (step) seek(audio.currentTime + step);
    else if (event.key === 'Home') seek(0);
    else if (event.key === ' ' || event.key === 'Enter') toggle.click();
    else return;
    event.preventDefault();
  });
}
