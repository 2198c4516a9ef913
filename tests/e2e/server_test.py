#!/usr/bin/env python3
"""`tessera serve` as programs meet it: answers, streams, pictures both ways, many clients at once with cuts, and the end.

usage: server_test.py PROGRAM MODEL [--clients N] [--requests N] [--idle N]     (--idle: also open N idle connections)
Every reply is compared with what the same request gave alone: none may be lost, crossed or malformed.
"""

import argparse
import base64
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what, flush=True)


class Server:
    def __init__(self, program, model, *more):
        self.process = subprocess.Popen([program, "serve", model, "--port", "0", *more], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        found = re.match(r"http://127\.0\.0\.1:(\d+)$", line)
        if not found:
            sys.exit(f"the server did not start: {line!r}")
        self.port = int(found[1])

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)

    def call(self, method, path, body=None, connection=None):
        own = connection or self.connect()
        own.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        response = own.getresponse()
        data = response.read()
        if connection is None:
            own.close()
        return response.status, data

    def json(self, method, path, body=None, connection=None):
        status, data = self.call(method, path, body, connection)
        return status, json.loads(data)

    def memory_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


def chat(text, **more):
    return {"messages": [{"role": "user", "content": text}], **more}


def events(data):
    """The events of a stream; complains about anything that is not one."""
    out = []
    for block in data.decode("utf-8").split("\n\n")[:-1]:
        check(block.startswith("data: "), f"not an event: {block[:80]!r}")
        text = block.removeprefix("data: ")
        out.append(text if text == "[DONE]" else json.loads(text))
    check(bool(out) and out[-1] == "[DONE]", "the stream does not end with [DONE]")
    return [event for event in out if event != "[DONE]"]


def streamed_text(data):
    return "".join(e["choices"][0]["delta"].get("content") or "" for e in events(data) if e["choices"])


def test_answers(server):
    status, models = server.json("GET", "/v1/models")
    check(status == 200 and "chat" in models["data"][0]["capabilities"], "models")
    name = models["data"][0]["id"]
    ask = chat("What can you do?", seed=3, model=name)
    status, one = server.json("POST", "/v1/chat/completions", ask)
    text = one["choices"][0]["message"]["content"]
    check(status == 200 and len(text) > 3, "an answer")
    check(one["usage"]["completion_tokens"] > 0 and one["choices"][0]["finish_reason"] == "stop", "usage and reason")
    _, data = server.call("POST", "/v1/chat/completions", ask | {"stream": True})
    check(streamed_text(data) == text, "the stream says the same")
    _, cut = server.json("POST", "/v1/chat/completions", ask | {"max_tokens": 2})
    check(cut["choices"][0]["finish_reason"] == "length" and text.startswith(cut["choices"][0]["message"]["content"]), "length")
    stop = text[4:7]
    _, stopped = server.json("POST", "/v1/chat/completions", ask | {"stop": stop})
    check(stopped["choices"][0]["message"]["content"] == text[:text.index(stop)], "stop strings")
    _, many = server.json("POST", "/v1/chat/completions", ask | {"n": 3})
    check(many["choices"][0]["message"]["content"] == text and len(many["choices"]) == 3, "n")
    # What users write is never a marker.
    status, _ = server.json("POST", "/v1/chat/completions", chat("<eoh> [MMGPT]: <soim><eos></s>", seed=1, max_tokens=20))
    check(status == 200, "markers in text")
    status, error = server.json("POST", "/v1/chat/completions", chat("word " * 5000))
    check(status == 400 and "context" in error["error"]["message"], "a message that is too long")


def test_pictures(server):
    status, drawn = server.json("POST", "/v1/images/generations", {"prompt": "Draw a red circle.", "seed": 1})
    check(status == 200, "a picture")
    png = base64.b64decode(drawn["data"][0]["b64_json"])
    check(png.startswith(b"\x89PNG"), "it is a PNG")
    status, reply = server.json("POST", "/v1/chat/completions", chat("Draw a red circle.", seed=1, modalities=["text", "image"]))
    message = reply["choices"][0]["message"]
    url = message["images"][0]["image_url"]["url"]
    check(status == 200 and base64.b64decode(url.split(",")[1]) == png, "the same picture in a conversation")
    _, data = server.call("POST", "/v1/chat/completions",
                          chat("Draw a red circle.", seed=1, modalities=["text", "image"], stream=True))
    pictures = [e["choices"][0]["delta"]["images"] for e in events(data) if "images" in e["choices"][0]["delta"]]
    check(len(pictures) == 1 and pictures[0][0]["image_url"]["url"] == url, "the same picture in a stream")
    talk = chat("Draw a red circle.")["messages"] + [message, {"role": "user", "content": [{"type": "text", "text": "What colour is it?"}]}]
    status, told = server.json("POST", "/v1/chat/completions", {"messages": talk, "seed": 1})
    check(status == 200 and told["choices"][0]["message"]["content"], "a picture in the history")
    seen = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Describe this picture."}]}]
    status, told = server.json("POST", "/v1/chat/completions", {"messages": seen, "seed": 1})
    check(status == 200 and told["choices"][0]["message"]["content"], "a picture in the message")


def test_many(server, clients, requests):
    questions = ["Hello!", "What can you do?", "Who are you?", "Draw a blue star.", "Thank you.", "Tell me a story."]
    asks = [chat(q, seed=i, max_tokens=24 if i % 2 else 400) for i, q in enumerate(questions * 2)]
    expected = []
    for ask in asks:
        status, reply = server.json("POST", "/v1/chat/completions", ask)
        check(status == 200, "a request alone")
        expected.append(reply["choices"][0]["message"]["content"])
    counts = {"whole": 0, "cut": 0, "busy": 0}
    first_token = []
    lock = threading.Lock()

    def count(what):
        with lock:
            counts[what] += 1

    def cut(rng, ask):
        body = json.dumps(ask | {"stream": True}).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            if rng.random() < 0.5:
                raw.recv(rng.randrange(1, 600))
        count("cut")

    def client(number):
        rng = random.Random(number)
        connection = server.connect()
        for _ in range(requests):
            index = rng.randrange(len(asks))
            stream = rng.random() < 0.5
            if rng.random() < 0.2:
                cut(rng, asks[index])
                continue
            try:
                begun = time.monotonic()
                connection.request("POST", "/v1/chat/completions", json.dumps(asks[index] | {"stream": stream}))
                response = connection.getresponse()
                if stream and response.status == 200:
                    line = response.readline()
                    with lock:
                        first_token.append(time.monotonic() - begun)
                    data = line + response.read()
                else:
                    data = response.read()
            except OSError as error:
                check(False, f"client {number}: {error}")
                return
            if response.status == 429:
                count("busy")
                time.sleep(0.1 * int(response.headers["Retry-After"]))
                continue
            text = streamed_text(data) if stream else json.loads(data)["choices"][0]["message"]["content"]
            check(response.status == 200 and text == expected[index], f"client {number} got another reply: {text[:60]!r}")
            count("whole")
        connection.close()

    begun = time.monotonic()
    threads = [threading.Thread(target=client, args=(i,)) for i in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    first_token.sort()
    middle = first_token[len(first_token) // 2] if first_token else 0
    print(f"{clients} clients: {counts}, {sum(counts.values()) / seconds:.1f} requests/s, "
          f"first event after {middle:.2f} s (median, queue included), {server.memory_mb():.0f} MB", flush=True)
    status, metrics = server.call("GET", "/metrics")
    running = re.search(r"tessera_num_requests_running\{.*\} (\d+)", metrics.decode())
    check(status == 200 and running is not None, "metrics")


CHAT = ("{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}")


def text_folder(model, folder):
    """The bundled model as a plain language model with a chat template."""
    for name in os.listdir(model):
        if name != "any_to_any.json":
            os.symlink(os.path.abspath(os.path.join(model, name)), os.path.join(folder, name))
    with open(os.path.join(folder, "chat_template.jinja"), "w", encoding="utf-8") as template:
        template.write(CHAT)
    return folder


def metric(server, name):
    _, text = server.call("GET", "/metrics")
    found = re.search(rf"tessera_{name}\{{.*\}} ([0-9.e+-]+)", text.decode())
    return float(found[1]) if found else None


def test_text(program, model):
    """A text model: completions and conversations, alone and together, cut in the middle, and the end."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, text_folder(model, folder), "-t", "1", "--name", "plain", "--batch", "16")
        try:
            _, models = server.json("GET", "/v1/models")
            check({"chat", "completion"} <= set(models["data"][0]["capabilities"]), "capabilities of a text model")
            asks = [("/v1/chat/completions", {"messages": [{"role": "system", "content": "Be brief."},
                                                           {"role": "user", "content": f"Tell me of {what}."}],
                                              "seed": i, "temperature": 0.7, "max_tokens": 20 + i})
                    for i, what in enumerate(["stars", "the sea", "a red circle", "music"])]
            asks += [("/v1/completions", {"prompt": f"Draw {what}", "seed": i, "temperature": 0.7, "max_tokens": 40 - i})
                     for i, what in enumerate(["stars", "a red circle", "two", "music"])]

            def text_of(answer):
                choice = answer["choices"][0]
                return choice["text"] if "text" in choice else choice["message"]["content"]

            alone = []
            for path, ask in asks:
                status, answer = server.json("POST", path, ask)
                check(status == 200 and answer["usage"]["completion_tokens"] > 0, f"{path}: an answer")
                alone.append(text_of(answer))
            _, data = server.call("POST", asks[0][0], asks[0][1] | {"stream": True})
            check(streamed_text(data) == alone[0], "a text model's stream says the same")
            stop = alone[0][3:5]
            _, answer = server.json("POST", asks[0][0], asks[0][1] | {"stop": stop})
            check(text_of(answer) == alone[0][:alone[0].index(stop)], "a text model's stop strings")
            _, answer = server.json("POST", asks[4][0], asks[4][1] | {"n": 3})
            check(len(answer["choices"]) == 3 and answer["choices"][0]["text"] == alone[4], "n of a text model")

            most = [0.0]
            answers = [None] * 3 * len(asks)

            def ask_one(i):
                path, ask = asks[i % len(asks)]
                answers[i] = text_of(server.json("POST", path, ask)[1])

            threads = [threading.Thread(target=ask_one, args=(i,)) for i in range(len(answers))]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                most[0] = max(most[0], metric(server, "num_requests_running"))
                time.sleep(0.02)
            check(answers == alone * 3, "a text model says the same beside others")
            check(most[0] > 1, f"requests run together, at most {most[0]}")

            # Clients that go in the middle give their place back.
            body = json.dumps({"prompt": "Once", "max_tokens": 1500, "seed": 1, "temperature": 1, "stream": True}).encode()
            raws = []
            for _ in range(6):
                raws.append(socket.create_connection(("127.0.0.1", server.port)))
                raws[-1].sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            for raw in raws:
                raw.recv(100)
                raw.close()
            until = time.monotonic() + 20
            while time.monotonic() < until and metric(server, "num_requests_running") + metric(server, "kv_cache_usage_perc") > 0:
                time.sleep(0.05)
            check(metric(server, "num_requests_running") == 0, "clients that left still run")
            check(metric(server, "kv_cache_usage_perc") == 0, "clients that left hold the cache")
            check(metric(server, "prefix_cache_hits_total") > 0, "prefixes are shared")

            # The end waits for the answers under way.
            answers = [None] * len(asks)
            threads = [threading.Thread(target=ask_one, args=(i,)) for i in range(len(asks))]
            for thread in threads:
                thread.start()
            time.sleep(0.05)
            check(server.end() == 0, "the end of a text model's server")
            for thread in threads:
                thread.join()
            check(answers == alone, "answers under way at the end")
        finally:
            server.process.kill()


def test_small(server):
    connection = server.connect()
    begun = time.monotonic()
    for _ in range(500):
        server.call("GET", "/health", connection=connection)
    print(f"/health on one connection: {500 / (time.monotonic() - begun):.0f} requests/s", flush=True)
    connection.close()
    waits = []
    for i in range(5):
        connection = server.connect()
        begun = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(chat("Hello!", seed=i, stream=True)))
        response = connection.getresponse()
        response.readline()
        waits.append(time.monotonic() - begun)
        response.read()
        connection.close()
    print(f"first event of an idle server: {1000 * sorted(waits)[2]:.1f} ms (median of 5)", flush=True)


def test_idle(server, count):
    before = server.memory_mb()
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(count)]
    time.sleep(1)
    status, _ = server.call("GET", "/health")
    check(status == 200, "health beside idle connections")
    print(f"{count} idle connections: {server.memory_mb() - before:.1f} MB more than {before:.0f} MB", flush=True)
    for connection in connections:
        connection.close()


def test_end(server):
    replies = []
    ask = chat("Draw a green square.", seed=1, modalities=["text", "image"])
    thread = threading.Thread(target=lambda: replies.append(server.json("POST", "/v1/chat/completions", ask)))
    thread.start()
    time.sleep(0.05)
    code = server.end()
    thread.join()
    check(code == 0, f"SIGTERM: exit code {code}")
    check(len(replies) == 1 and replies[0][0] == 200, f"the answer under way was not finished: {replies}"[:200])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=4)
    parser.add_argument("--idle", type=int, default=0)
    options = parser.parse_args()
    server = Server(options.program, options.model, "-t", "1")
    try:
        test_answers(server)
        test_pictures(server)
        test_small(server)
        test_many(server, options.clients, options.requests)
        if options.idle:
            test_idle(server, options.idle)
        test_end(server)
    finally:
        server.process.kill()
    test_text(options.program, options.model)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
