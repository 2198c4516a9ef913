"""Goldens for io/wav, io/resample and io/audio: tests/goldens/audio/.

resample: torchaudio's transforms.Resample on noise; rates whose kernel torchaudio could not hold in
memory come from the same formula in NumPy, tap by tap in float64.
wav and compressed: files written by soundfile, with the floats that soundfile reads from them.
Numbers lie one after the other in .f32 files (little-endian fp32); index.json has offsets and shapes.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import soundfile
import torch
import torchaudio

HERE = pathlib.Path(__file__).resolve().parent
RESAMPLE = [
    (8000, 16000, 801), (16000, 24000, 1201), (44100, 16000, 4410), (48000, 44100, 1999),
    (22050, 16000, 2205), (24000, 32000, 1201), (16000, 8000, 1601), (48000, 16000, 1601),
    (44100, 48000, 1001), (8000, 44100, 301), (24000, 16000, 1441), (32000, 24000, 1000),
    (96000, 8000, 3001), (1009, 1000, 700), (3, 1, 50), (1, 7, 9),
    (44100, 16000, 1), (44100, 16000, 2), (44100, 16000, 17),
    (8000, 16000, 1), (8000, 16000, 2), (16000, 8000, 1),
]
BY_FORMULA = [(44100, 44099, 300), (999983, 1000000, 60), (9999991, 9999973, 40)]
WAV = [
    ("pcm_u8", "WAV", "PCM_U8", "FILE"), ("pcm_16", "WAV", "PCM_16", "FILE"),
    ("pcm_24", "WAV", "PCM_24", "FILE"), ("pcm_32", "WAV", "PCM_32", "FILE"),
    ("float", "WAV", "FLOAT", "FILE"), ("double", "WAV", "DOUBLE", "FILE"),
    ("a_law", "WAV", "ALAW", "FILE"), ("mu_law", "WAV", "ULAW", "FILE"),
    ("extensible_16", "WAVEX", "PCM_16", "FILE"), ("extensible_24", "WAVEX", "PCM_24", "FILE"),
    ("extensible_float", "WAVEX", "FLOAT", "FILE"), ("extensible_mu_law", "WAVEX", "ULAW", "FILE"),
    ("rf64_16", "RF64", "PCM_16", "FILE"), ("rf64_float", "RF64", "FLOAT", "FILE"),
    ("rifx_16", "WAV", "PCM_16", "BIG"), ("rifx_24", "WAV", "PCM_24", "BIG"),
    ("rifx_32", "WAV", "PCM_32", "BIG"), ("rifx_float", "WAV", "FLOAT", "BIG"),
    ("rifx_double", "WAV", "DOUBLE", "BIG"),
]
# Name, format, subtype, and whether decoders agree to the last bit or nearly.
COMPRESSED = [
    ("flac_16.flac", "FLAC", "PCM_16", 0.0), ("flac_24.flac", "FLAC", "PCM_24", 0.0),
    ("vorbis.ogg", "OGG", "VORBIS", 1e-4), ("opus.ogg", "OGG", "OPUS", 1e-3),
    ("layer3.mp3", "MP3", "MPEG_LAYER_III", 1e-4), ("ima_adpcm.wav", "WAV", "IMA_ADPCM", 5e-3),
    ("aiff_16.aiff", "AIFF", "PCM_16", 0.0), ("au_mu_law.au", "AU", "ULAW", 0.0),
]


class Floats:
    """Arrays that go one after the other into one file."""

    def __init__(self):
        self.parts, self.count = [], 0

    def add(self, array):
        array = np.ascontiguousarray(array, dtype="<f4").reshape(-1)
        self.parts.append(array)
        self.count += array.size
        return {"offset": self.count - array.size, "count": int(array.size)}

    def save(self, path):
        np.concatenate(self.parts).tofile(path)


def by_formula(x, orig, new):
    g = math.gcd(orig, new)
    o, n = orig // g, new // g
    base = min(o, n) * 0.99
    width = math.ceil(6 * o / base)
    out = np.zeros(-(-n * len(x) // o), dtype=np.float32)
    for k in range(len(out)):
        q, i = divmod(k, n)
        first = i * o // n - width - 2
        j = np.arange(max(first, -width), min(first + 2 * width + 5, width + o))
        t = (np.float64(np.float32(-i) / np.float32(n)) + j / o) * base
        t = np.clip(t, -6, 6)
        window = np.cos(t * math.pi / 6 / 2) ** 2
        kernel = (np.sinc(t) * window * (base / o)).astype(np.float32)
        at = q * o + j
        inside = (at >= 0) & (at < len(x))
        out[k] = np.dot(kernel[inside].astype(np.float64), x[at[inside]].astype(np.float64))
    return out


def speech_like(rng, frames, channels, rate):
    """A few partials with an envelope and a little noise: codecs treat it kindly."""
    t = np.arange(frames)[:, None] / rate
    f = np.array([[180.0, 240.0, 310.0, 150.0, 420.0, 95.0][:channels]])
    x = sum(np.sin(2 * np.pi * f * h * t + h) / h for h in (1, 2, 3, 5))
    x *= 0.25 * (1 - np.cos(2 * np.pi * np.arange(frames) / frames))[:, None]
    return (0.8 * x + 0.003 * rng.standard_normal(x.shape)).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "goldens" / "audio")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(options.seed)
    floats = Floats()
    index = {
        "seed": options.seed,
        "versions": {"torch": torch.__version__, "torchaudio": torchaudio.__version__,
                     "soundfile": soundfile.__version__,
                     "libsndfile": soundfile.__libsndfile_version__, "numpy": np.__version__},
        "resample": [], "wav": [], "compressed": [],
    }
    noise = rng.uniform(-1, 1, 4410).astype(np.float32)
    index["noise"] = floats.add(noise)
    for orig, new, length in RESAMPLE:
        x = torch.from_numpy(noise[:length])
        y = torchaudio.transforms.Resample(orig, new)(x[None])[0].numpy()
        index["resample"].append({"from": orig, "to": new, "length": length, "by": "torchaudio",
                                  "output": floats.add(y)})
    for orig, new, length in BY_FORMULA:
        index["resample"].append({"from": orig, "to": new, "length": length, "by": "formula",
                                  "output": floats.add(by_formula(noise[:length], orig, new))})
    check = by_formula(noise[:801], 48000, 44100)
    real = torchaudio.transforms.Resample(48000, 44100)(torch.from_numpy(noise[None, :801]))[0]
    assert np.abs(check - real.numpy()).max() < 1e-6, "the formula is not torchaudio's"

    for name, kind, subtype, endian in WAV:
        channels = 6 if name == "extensible_16" else 1 if name in ("pcm_24", "rifx_24") else 2
        frames = 101
        x = rng.uniform(-1, 1, (frames, channels))
        x[0], x[1] = 1.0, -1.0
        if subtype in ("FLOAT", "DOUBLE"):
            x[2] = 2.5  # floats may leave ±1
        path = options.out / f"{name}.wav"
        soundfile.write(path, x, 22050, format=kind, subtype=subtype, endian=endian)
        y, rate = soundfile.read(path, dtype="float32", always_2d=True)
        index["wav"].append({"file": path.name, "rate": rate, "channels": channels,
                             "frames": frames, "samples": floats.add(y)})
    for name, kind, subtype, tolerance in COMPRESSED:
        rate = 48000 if subtype == "OPUS" else 16000
        frames, channels = rate // 8 + 1, 1 if subtype == "IMA_ADPCM" else 2
        if subtype == "IMA_ADPCM":
            frames = 505 * 3
        path = options.out / name
        soundfile.write(path, speech_like(rng, frames, channels, rate), rate, format=kind,
                        subtype=subtype)
        y, rate = soundfile.read(path, dtype="float32", always_2d=True)
        index["compressed"].append({"file": name, "rate": rate, "channels": channels,
                                    "frames": len(y), "tolerance": tolerance,
                                    "samples": floats.add(y)})
    floats.save(options.out / "floats.f32")
    (options.out / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
