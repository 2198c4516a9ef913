"""Writes tests/goldens/world/g722.json: a sweep with noise, encoded and decoded by FFmpeg (PyAV) as G.722."""
import base64
import importlib.metadata
import io
import json
import pathlib

import av
import numpy as np

rate, n = 16000, 6400
t = np.arange(n) / rate
x = 0.6 * np.sin(2 * np.pi * (100 * t + 8000 * t * t)) + 0.2 * np.random.default_rng(1).standard_normal(n)
x = np.clip(x * 1.1, -1, 1)
x[3000:3400] = 0
pcm = (x * 32767).astype(np.int16)
buffer = io.BytesIO()
with av.open(buffer, "w", format="g722") as out:
    stream = out.add_stream("g722", rate=rate, layout="mono")
    frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
    frame.sample_rate = rate
    for packet in [*stream.encode(frame), *stream.encode(None)]:
        out.mux(packet)
code = buffer.getvalue()
with av.open(io.BytesIO(code), format="g722") as source:
    decoded = np.concatenate([f.to_ndarray().reshape(-1) for f in source.decode(audio=0)])
golden = {"av": importlib.metadata.version("av"), "numpy": np.__version__,
          "code": base64.b16encode(code).decode(), "samples": decoded.tolist()}
path = pathlib.Path(__file__).resolve().parents[1] / "goldens/world/g722.json"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_text(json.dumps(golden, separators=(",", ":")))
print(len(code), len(decoded))
