#!/usr/bin/env python3
"""The real `openai` package against `tessera serve`: what its users write must work unchanged.

usage: openai_client.py PROGRAM MODEL      (make e2e makes the environment and calls it)
"""

import base64
import sys

import openai
from server_test import Server, check, failures


def main():
    program, model = sys.argv[1:3]
    server = Server(program, model, "--api-key", "secret", "-t", "1")
    try:
        url = f"http://127.0.0.1:{server.port}/v1"
        client = openai.OpenAI(base_url=url, api_key="secret", max_retries=0)
        name = client.models.list().data[0].id
        check(client.models.retrieve(name).id == name, "models.retrieve")
        ask = {"model": name, "messages": [{"role": "user", "content": "What can you do?"}], "seed": 3}
        whole = client.chat.completions.create(**ask)
        text = whole.choices[0].message.content
        check(bool(text) and whole.usage.total_tokens > 0, "chat.completions.create")
        pieces, usage = [], None
        for chunk in client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            pieces += [choice.delta.content or "" for choice in chunk.choices]
        check("".join(pieces) == text, "a stream")
        check(usage is not None and usage.completion_tokens == whole.usage.completion_tokens, "usage of a stream")
        picture = client.images.generate(model=name, prompt="Draw a red circle.")
        png = base64.b64decode(picture.data[0].b64_json)
        check(png.startswith(b"\x89PNG"), "images.generate")
        part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + base64.b64encode(png).decode()}}
        seen = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": [part, {"type": "text", "text": "Describe this picture."}]}])
        check(bool(seen.choices[0].message.content), "a picture in")
        drawn = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "Draw a blue star."}],
            extra_body={"modalities": ["text", "image"]})
        check(drawn.choices[0].message.images[0]["image_url"]["url"].startswith("data:image/png"), "a picture out")

        def fails(kind, call):
            try:
                call()
            except kind as error:
                check(bool(error.message), "an error's message")
            else:
                check(False, f"no {kind.__name__}")

        fails(openai.NotFoundError, lambda: client.chat.completions.create(**ask | {"model": "other"}))
        fails(openai.BadRequestError, lambda: client.chat.completions.create(**ask, temperature=9))
        fails(openai.InternalServerError, lambda: client.embeddings.create(model=name, input="x"))  # 501
        fails(openai.InternalServerError, lambda: client.chat.completions.create(**ask, logprobs=True))
        fails(openai.AuthenticationError, lambda: openai.OpenAI(base_url=url, api_key="x", max_retries=0).models.list())
        check(server.end() == 0, "the end")
    finally:
        server.process.kill()
    print(f"openai {openai.__version__}: {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
