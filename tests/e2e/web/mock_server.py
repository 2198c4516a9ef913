"""The routes that the page uses, answered the same way every time: the page's files under the policy that the program
sends with them, /v1/models, and /v1/chat/completions by what the last message says (see reply_of).

    python mock_server.py [PORT]
"""
import base64
import json
import math
import pathlib
import struct
import sys
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WEB = pathlib.Path(__file__).resolve().parents[3] / "src/serve/web"
POLICY = ("default-src 'self'; img-src 'self' data: blob:; media-src 'self' data: blob:; connect-src 'self'; "
          "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
ALL = ["text", "image", "audio", "music"]
MODELS = [{"id": "tessera-mini", "object": "model", "max_model_len": 2048, "input_modalities": ALL, "output_modalities": ALL,
           "capabilities": ["chat", "images", "speech", "music", "transcription"], "voices": ["Sally", "Tom"]},
          {"id": "words-only", "object": "model", "max_model_len": None, "input_modalities": ["text"],
           "output_modalities": ["text"], "capabilities": ["chat"], "voices": []}]

ATTACK = """<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>

[click](javascript:window.hacked=1) [data](data:text/html,<script>window.hacked=1</script>) ![p](https://example.com/x.png)

| <b>a</b> | b |
|---|---|
| <svg onload=window.hacked=1> | `</code><script>window.hacked=1</script>` |

```html
</pre><script>window.hacked=1</script>
```

<javascript:window.hacked=1> [x](  JaVaScRiPt:window.hacked=1) [y](vbscript:x) [z](https://ok.example/?a=1&b="><script>)
"""

SHOWCASE = """# A tour of tokens

A **token** is a *small piece* of a sequence: a syllable, `<eos>`, or a patch of a picture. See [the format](https://example.com/format).

## What becomes a token

1. Text, cut by the tokenizer
2. Pictures, as rows of codes
   - each code names an entry of a codebook
   - a small picture takes 256 of them
3. Speech and music, frame by frame

| kind | codes a second | levels |
|:-----|---------------:|:------:|
| speech | 50 | 8 |
| music | 50 | 4 |

```python
def decode(ids, codec):
    # one frame holds a code of each level
    frames = [codec.frame(i) for i in ids]
    return "".join(frames), 0.5
```

> The model never sees a pixel. It sees codes.

- [x] read the format
- [ ] train a codec
"""


def png(width=48, height=48):
    """Two red circles on green."""
    def colour(x, y):
        for cx in (14, 34):
            if (x - cx) ** 2 + (y - 24) ** 2 < 64:
                return bytes((210, 50, 40))
        return bytes((90, 160, 70))
    rows = b"".join(b"\0" + b"".join(colour(x, y) for x in range(width)) for y in range(height))

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def wav(seconds=2.0, rate=24000, streaming=False):
    """A tone that swells three times. With `streaming`, the header's lengths are the most that fits, as of a stream."""
    count = int(seconds * rate)
    data = b"".join(struct.pack("<h", int(12000 * abs(math.sin(3 * math.pi * i / count)) * math.sin(i * 0.11)))
                    for i in range(count))
    size = 0xFFFFFFFF - 36 if streaming else len(data)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", (36 + size) & 0xFFFFFFFF, b"WAVE", b"fmt ", 16, 1, 1, rate,
                       rate * 2, 2, 16, b"data", size & 0xFFFFFFFF) + data


class State:
    """What the tests ask about."""
    lock = threading.Lock()
    requests = []     # bodies of chat completions
    cancelled = 0     # replies whose client went away
    failures = {}     # what was said -> how often it failed
    key = ""          # the API key that is asked for, when any


def last_text(messages):
    content = messages[-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def describe(messages):
    """Says what came, so that a test can see it: kinds and sizes of the parts of every message."""
    lines = []
    for message in messages:
        content = message["content"]
        if isinstance(content, str):
            lines.append(f"{message['role']}: {content}")
            continue
        for part in content:
            if part["type"] == "text":
                lines.append(f"{message['role']}: {part['text']}")
            elif part["type"] == "image_url":
                head, _, data = part["image_url"]["url"].partition(",")
                lines.append(f"{message['role']} image: {head} {len(base64.b64decode(data))} bytes")
            else:
                audio = part[part["type"]]
                raw = base64.b64decode(audio["data"])
                channels, rate, _, _, bits = struct.unpack("<HIIHH", raw[22:36])
                seconds = (len(raw) - 44) / (rate * channels * bits / 8)
                lines.append(f"{message['role']} audio: {audio['format']} {channels} channel {rate} Hz {bits} bit "
                             f"{seconds:.1f} s {part['type']}")
    return "\n\n".join(lines)


def reply_of(body):
    """(deltas, seconds between them)."""
    text = last_text(body["messages"])
    kinds = body.get("modalities", ["text"])
    if "image" in kinds:
        url = "data:image/png;base64," + base64.b64encode(png()).decode()
        return [{"content": "Gladly."}, {"images": [{"type": "image_url", "image_url": {"url": url}}]}], 0.05
    for kind in ("speech", "music"):
        if kind in kinds:
            raw = wav(streaming=True)
            third = len(raw) // 3 // 2 * 2
            pieces = [raw[:third], raw[third:2 * third], raw[2 * third:]]
            key = "audio" if kind == "speech" else "music"
            deltas = [{key: {"id": "audio_1", "data": base64.b64encode(piece).decode()}} for piece in pieces]
            if kind == "speech":
                deltas.append({"audio": {"id": "audio_1", "transcript": "Good morning."}})
            return deltas, 0.05
    if text.startswith("long"):
        return [{"content": f"word{i} "} for i in range(400)], 0.03
    if text.startswith("attack"):
        return [{"content": ATTACK[i:i + 7]} for i in range(0, len(ATTACK), 7)], 0
    if text.startswith("showcase"):
        return [{"content": SHOWCASE[i:i + 4]} for i in range(0, len(SHOWCASE), 4)], 0.002
    if text.startswith("settings"):
        kept = {k: v for k, v in body.items() if k not in ("messages", "stream", "stream_options")}
        return [{"content": "```json\n" + json.dumps(kept, sort_keys=True) + "\n```"}], 0
    if text.startswith("history"):
        return [{"content": describe(body["messages"])}], 0
    if text.startswith("think"):
        return [{"reasoning_content": "Let me "}, {"reasoning_content": "<b>see</b>."}, {"content": "It "}, {"content": "is so."}], 0.02
    if text.startswith("empty"):
        return [], 0
    answer = f"You said: {describe(body['messages'][-1:])}"
    return [{"content": answer[i:i + 6]} for i in range(0, len(answer), 6)], 0.005


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status, body, kind="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def fail(self, status, message, kind="invalid_request_error", code=None, headers=()):
        self.send(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, headers=headers)

    def allowed(self):
        if not State.key or self.headers.get("Authorization") == f"Bearer {State.key}":
            return True
        self.fail(401, "no such key", "authentication_error", "invalid_api_key")
        return False

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/v1/models":
            if self.allowed():
                self.send(200, {"object": "list", "data": MODELS})
        elif path == "/mock/state":
            self.send(200, {"requests": State.requests, "cancelled": State.cancelled})
        else:
            file = WEB / ("index.html" if path == "/" else path[1:])
            if file.parent == WEB and file.is_file():
                self.send(200, file.read_bytes(), TYPES[file.suffix],
                          [("Content-Security-Policy", POLICY), ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store")])
            else:
                self.fail(404, "no such page", "not_found_error")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/mock/key/"):
            State.key = self.path.removeprefix("/mock/key/")
            self.send(200, {})
        elif self.path == "/mock/reset":
            State.requests, State.cancelled, State.failures, State.key = [], 0, {}, ""
            self.send(200, {})
        elif self.path != "/v1/chat/completions":
            self.fail(404, "no such route", "not_found_error")
        elif self.allowed():
            self.chat(json.loads(body))

    def chat(self, body):
        State.requests.append(body)
        text = last_text(body["messages"])
        with State.lock:
            times = State.failures[text] = State.failures.get(text, 0) + 1
        if text == "busy" and times == 1:
            self.fail(429, "the queue is full", "rate_limit_error", headers=[("Retry-After", "2")])
        elif text == "too long":
            self.fail(400, "the prompt has 5000 tokens, the context 2048", code="context_length_exceeded")
        elif text == "broken server":
            self.fail(500, "the device went away", "server_error")
        else:
            self.stream(body, text)

    def stream(self, body, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        deltas, pause = reply_of(body)
        try:
            self.event(body, {"role": "assistant", "content": ""})
            for i, delta in enumerate(deltas):
                if text == "cut" and i == 2:
                    return
                if text == "fails midway" and i == 2:
                    self.wfile.write(b'data: {"error":{"message":"out of memory","type":"server_error","code":null}}\n\n')
                    return
                self.event(body, delta)
                time.sleep(pause)
            self.event(body, {}, "stop")
            usage = {"prompt_tokens": 11, "completion_tokens": len(deltas), "total_tokens": 11 + len(deltas)}
            self.write({"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage,
                        "timings": {"predicted_per_second": 123.4}})
            self.wfile.write(b": ping\n\ndata: [DONE]\n\n")
        except (BrokenPipeError, ConnectionResetError):
            State.cancelled += 1
        finally:
            self.close_connection = True

    def event(self, body, delta, finish=None):
        self.write({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": body["model"],
                    "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], "usage": None})

    def write(self, chunk):
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()


def serve(port=0):
    """A running server; its address is server.server_address."""
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    running = serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8099)
    print("http://127.0.0.1:%d/" % running.server_address[1], flush=True)
    threading.Event().wait()
