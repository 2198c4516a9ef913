#!/usr/bin/env python3
"""`tessera serve` under a rough crowd: clients that ask, listen, leave, read slowly and send rubbish, for as long as told.

usage: bench/soak.py [--seconds 600] [--clients 1000] [--at-once 100] [--model FOLDER] [--out bench/results/NAME.json]

--clients connections stay open, --at-once of them have a request under way. Every reply is compared with what the same request gave
alone: none may be lost, crossed or malformed. Memory is read twice a second; after the warm-up (a quarter of the time) its spread must
stay within 5 per cent. Exit code 1 when anything of this fails.
"""
import argparse
import collections
import http.client
import json
import os
import platform
import queue
import random
import socket
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from server_test import Server, chat, streamed_text  # noqa: E402  (its client side is ours too)

CHAT = "/v1/chat/completions"
IDLE = 45  # seconds: the server closes connections after a minute of silence, so clients open another before
QUESTIONS = ["Hello!", "What can you do?", "Who are you?", "Thank you.", "Tell me a story.", "Draw a blue star.", "Good night!"]


def requests():
    """Requests whose replies are known: (path, body) by kind."""
    asks = [(CHAT, chat(text, seed=seed)) for seed, text in enumerate(QUESTIONS * 3)]
    asks += [(CHAT, chat("Draw a red circle.", seed=seed, modalities=["text", "image"])) for seed in range(2)]
    asks += [(CHAT, chat("Please say: hello.", seed=seed, modalities=["text", "audio"], max_tokens=100)) for seed in range(2)]
    return asks


def answer_of(data):
    """What a reply says, without ids and times."""
    message = json.loads(data)["choices"][0]["message"]
    audio = (message.get("audio") or {}).get("data")
    return json.dumps([message.get("content"), message.get("images"), audio])


class Crowd:
    def __init__(self, server, clients, seconds):
        self.server, self.until = server, time.monotonic() + seconds
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.wrong = []
        self.waits = collections.defaultdict(list)
        self.asks = requests()
        self.expected = []
        for path, body in self.asks:
            status, data = server.call("POST", path, body)
            if status != 200:
                sys.exit(f"a request alone was answered with {status}: {data[:200]!r}")
            self.expected.append(answer_of(data))
        self.free = queue.Queue()
        for _ in range(clients):
            connection = server.connect()
            connection.connect()
            self.free.put((connection, time.monotonic()))

    def count(self, what, seconds=None):
        with self.lock:
            self.counts[what] += 1
            if seconds is not None:
                self.waits[what].append(seconds)

    def fail(self, what):
        with self.lock:
            self.wrong.append(what)
            print("WRONG:", what, flush=True)

    def ask(self, connection, rng, index):
        """Whole or streamed; asked again when the server is full."""
        path, body = self.asks[index]
        stream = "modalities" not in body and rng.random() < 0.4
        slow = stream and rng.random() < 0.1
        begun = time.monotonic()
        while True:
            connection.request("POST", path, json.dumps(body | {"stream": stream}), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if slow and response.status == 200:
                data = b""
                while piece := response.read1(64):
                    data += piece
                    time.sleep(0.02)
            else:
                data = response.read()
            if response.status != 429:
                break
            self.count("asked to come later")
            if not response.headers["Retry-After"]:
                return self.fail("429 without Retry-After")
            time.sleep(rng.random() * int(response.headers["Retry-After"]))
        if response.status != 200:
            return self.fail(f"{response.status}: {data[:200]!r}")
        got = json.dumps([streamed_text(data), None, None]) if stream else answer_of(data)
        if got != self.expected[index]:
            return self.fail(f"request {index} got {got[:200]}")
        return self.count("read slowly" if slow else "streamed" if stream else "answered", time.monotonic() - begun)

    def leave(self, rng, index):
        """Goes before the answer is through."""
        path, body = self.asks[index]
        data = json.dumps(body | {"stream": True}).encode()
        with socket.create_connection(("127.0.0.1", self.server.port)) as raw:
            raw.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)
            time.sleep(rng.random() * 0.3)
            if rng.random() < 0.5:
                raw.settimeout(2)
                try:
                    raw.recv(rng.randrange(1, 800))
                except TimeoutError:
                    pass
        self.count("left")

    def rubbish(self, rng):
        """Bodies that are no JSON, no request, or too large: each has its status."""
        kind = rng.randrange(4)
        status, sent = [(400, b'{"messages": [{"role": "user", "content": "x"}'), (400, b'{"messages": "x"}'), (400, b"[" * 5000),
                        (413, None)][kind]
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=60) as raw:
            length = 80 << 20 if sent is None else len(sent)
            raw.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (CHAT.encode(), length) + (sent or b"x" * 1000))
            response = http.client.HTTPResponse(raw)
            response.begin()
            error = json.loads(response.read())
        if response.status != status or "message" not in error["error"]:
            return self.fail(f"rubbish {kind} was answered with {response.status}: {error}")
        return self.count("refused")

    def worker(self, number):
        rng = random.Random(number)
        while time.monotonic() < self.until:
            connection, used = self.free.get()
            try:
                if time.monotonic() - used > IDLE:
                    connection.close()
                    connection.connect()
                    used = time.monotonic()
                    self.count("connected again")
                what = rng.random()
                index = rng.randrange(len(self.asks))
                if what < 0.8:
                    self.ask(connection, rng, index)
                    used = time.monotonic()
                elif what < 0.92:
                    self.leave(rng, index)
                else:
                    self.rubbish(rng)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                self.fail(f"lost: {type(error).__name__}: {error}")
                connection.close()
            self.free.put((connection, used))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "release", "tessera"))
    parser.add_argument("--model", default=os.path.join(ROOT, "models", "tessera-mini"))
    parser.add_argument("--out", help="JSON file to write")
    options = parser.parse_args()
    server = Server(options.program, options.model, "--queue", "256")
    memory = []
    try:
        crowd = Crowd(server, options.clients, options.seconds)
        begun = time.monotonic()
        threads = [threading.Thread(target=crowd.worker, args=(i,)) for i in range(options.at_once)]
        for thread in threads:
            thread.start()
        told = begun
        while any(thread.is_alive() for thread in threads):
            memory.append((time.monotonic() - begun, server.memory_mb()))
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"{told - begun:5.0f} s  {dict(crowd.counts)}  {memory[-1][1]:.0f} MB", file=sys.stderr, flush=True)
            time.sleep(0.5)
        seconds = time.monotonic() - begun
        code = server.end()
    finally:
        server.process.kill()
    steady = [mb for at, mb in memory if at >= options.seconds / 4]
    middle = (max(steady) + min(steady)) / 2
    result = {"seconds": seconds, "clients": options.clients, "at_once": options.at_once, "counts": dict(crowd.counts),
              "wrong": len(crowd.wrong), "requests_s": sum(crowd.counts.values()) / seconds,
              "memory_mb": {"first": memory[0][1], "least": min(steady), "most": max(steady), "last": memory[-1][1],
                            "spread": (max(steady) - min(steady)) / 2 / middle}}
    for kind, waits in crowd.waits.items():
        waits.sort()
        result[kind + "_seconds"] = {"p50": waits[len(waits) // 2], "p99": waits[int(len(waits) * 0.99)]}
    print(json.dumps(result, indent=1))
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump({"command": "bench/soak.py " + " ".join(sys.argv[1:]), "kernel": platform.release()} | result, file, indent=1)
            file.write("\n")
    if crowd.wrong or code != 0 or result["memory_mb"]["spread"] > 0.05:
        sys.exit(1)


if __name__ == "__main__":
    main()
