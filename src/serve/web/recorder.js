// Records from the microphone. The level is offered while it runs; the result is a part as media.js makes them.
import { soundOfBlob } from './media.js';
import { t } from './i18n.js';

/// Why recording is not to be had here, or '' when it is.
export function recordingProblem() {
  if (!window.isSecureContext) return t('mic_insecure');
  return navigator.mediaDevices?.getUserMedia && window.MediaRecorder ? '' : t('mic_missing');
}

export class Recorder {
  /// Asks for the microphone and starts; throws an Error with a message for the user.
  async start() {
    const problem = recordingProblem();
    if (problem) throw new Error(problem);
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
    } catch (error) {
      if (error.name === 'NotAllowedError') throw new Error(t('mic_denied'));
      if (error.name === 'NotFoundError') throw new Error(t('mic_missing'));
      throw new Error(t('mic_failed', { reason: error.message }));
    }
    this.context = new AudioContext();
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024 });
    this.context.createMediaStreamSource(this.stream).connect(this.analyser);
    this.wave = new Float32Array(this.analyser.fftSize);
    this.recorder = new MediaRecorder(this.stream);
    this.pieces = [];
    this.recorder.addEventListener('dataavailable', (event) => this.pieces.push(event.data));
    this.recorder.start();
    this.started = performance.now();
  }

  get seconds() {
    return (performance.now() - this.started) / 1000;
  }

  /// Loudness now in [0, 1].
  level() {
    this.analyser.getFloatTimeDomainData(this.wave);
    const power = this.wave.reduce((sum, x) => sum + x * x, 0) / this.wave.length;
    return Math.min(1, Math.sqrt(power) * 4);
  }

  /// Ends the recording and gives it as a part.
  async finish() {
    const stopped = new Promise((resolve) => this.recorder.addEventListener('stop', resolve, { once: true }));
    this.recorder.stop();
    await stopped;
    this.release();
    const blob = new Blob(this.pieces, { type: this.recorder.mimeType });
    if (!blob.size) throw new Error(t('mic_short'));
    return soundOfBlob(blob, 'speech');
  }

  discard() {
    if (this.recorder?.state === 'recording') this.recorder.stop();
    this.release();
  }

  release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.context?.close();
    this.context = null;
  }
}
