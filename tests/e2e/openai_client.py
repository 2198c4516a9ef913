#!/usr/bin/env python3
"""The real `openai` package against `tessera serve`: what its users write must work unchanged.

usage: openai_client.py PROGRAM MODEL      (make e2e makes the environment and calls it)
"""

import base64
import json
import pathlib
import re
import shutil
import sys
import tempfile

import openai
from server_test import Server, check, failures


TEMPLATE = """{{ bos_token }}{% if tools %}{% for t in tools %}{{ t | tojson }}
{% endfor %}Write <tool_call>.
{% endif %}{% if style %}Be {{ style }}.
{% endif %}{% for m in messages %}{{ m.role }}: {{ m.content.split("</think>")[-1] }}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}{% if thoughts %}<think>
{% endif %}"""

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "The weather of a town.",
    "parameters": {"type": "object", "properties": {"town": {"enum": ["Oslo", "Rome"]}, "days": {"type": "integer", "minimum": 0, "maximum": 9}},
                   "required": ["town", "days"], "additionalProperties": False}}}


def byte_letters():
    """GPT-2's letters for bytes: printable ones stand for themselves, the others follow 255."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


def text_model(folder):
    """A tiny language model of random weights with a tokenizer of bytes and a template that prints tools."""
    shutil.copytree(pathlib.Path(__file__).parents[1] / "goldens" / "llama" / "plain", folder)
    special = ["<unk>", "<s>", "</s>"]
    vocabulary = {token: i for i, token in enumerate(special + byte_letters())}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, token in enumerate(special)]
    (folder / "tokenizer.json").write_text(json.dumps(
        {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
         "pre_tokenizer": level, "post_processor": None, "decoder": level,
         "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                   "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocabulary, "merges": []}}))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def check_language_model(client):
    ask = {"model": client.models.list().data[0].id, "messages": [{"role": "user", "content": "Hi"}], "seed": 4, "max_tokens": 200}
    create = client.chat.completions.create
    spoken = create(**ask, logprobs=True, top_logprobs=2, presence_penalty=0.5, frequency_penalty=0.5, logit_bias={"40": -100})
    tokens = spoken.choices[0].logprobs.content
    check(len(tokens) > 0 and all(t.logprob <= 0 and len(t.top_logprobs) == 2 for t in tokens), "logprobs")
    check(bytes(b for t in tokens for b in t.bytes).decode("utf-8", "replace") == spoken.choices[0].message.content, "bytes of tokens")
    streamed = [t for chunk in create(**ask, logprobs=True, top_logprobs=2, presence_penalty=0.5, frequency_penalty=0.5,
                                      logit_bias={"40": -100}, stream=True)
                for choice in chunk.choices if choice.logprobs for t in choice.logprobs.content]
    check(streamed == tokens, "logprobs of a stream")
    again = create(**ask)
    check(again.usage.prompt_tokens_details.cached_tokens >= 0, "cached tokens")
    schema = TOOL["function"]["parameters"]
    formed = create(**ask, response_format={"type": "json_schema", "json_schema": {"name": "w", "strict": True, "schema": schema}})
    check(json.loads(formed.choices[0].message.content)["town"] in ("Oslo", "Rome"), "json_schema")
    matched = create(**ask, extra_body={"guided_regex": "[a-f]{3}-[0-9]{2}"})
    check(re.fullmatch("[a-f]{3}-[0-9]{2}", matched.choices[0].message.content), "guided_regex")
    called = create(**ask, tools=[TOOL], tool_choice="required", parallel_tool_calls=False).choices[0]
    call = called.message.tool_calls[0]
    check(called.finish_reason == "tool_calls" and call.function.name == "get_weather", "a call")
    arguments = json.loads(call.function.arguments)
    check(arguments["town"] in ("Oslo", "Rome") and arguments["days"] <= 9, "arguments")
    name, pieces, reason = "", "", None
    for chunk in create(**ask, tools=[TOOL], tool_choice={"type": "function", "function": {"name": "get_weather"}},
                        parallel_tool_calls=False, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            name += delta.function.name or ""
            pieces += delta.function.arguments or ""
        reason = chunk.choices[0].finish_reason
    check((name, json.loads(pieces), reason) == ("get_weather", arguments, "tool_calls"), "a streamed call")
    talk = ask["messages"] + [called.message.model_dump(exclude_none=True),
                              {"role": "tool", "tool_call_id": call.id, "content": "Sunny."}]
    follow = create(**ask | {"messages": talk}, tools=[TOOL])
    check(follow.choices[0].finish_reason in ("stop", "length"), "the result goes back")
    styled = create(**ask, extra_body={"chat_template_kwargs": {"style": "brief"}})
    check(styled.usage.prompt_tokens == again.usage.prompt_tokens + len("Be brief.\n"), "variables of the template")
    begun = {"messages": ask["messages"] + [{"role": "assistant", "content": "Well, "}]}
    goes_on = create(**ask | begun, extra_body={"continue_final_message": True, "add_generation_prompt": False})
    check(goes_on.usage.prompt_tokens == again.usage.prompt_tokens + len("Well, "), "a message that goes on")
    thought = {"extra_body": {"chat_template_kwargs": {"thoughts": True}}, "logit_bias": {"63": -100}}  # "<"
    message = create(**ask, **thought).choices[0].message
    check(message.content == "" and len(message.reasoning_content) > 0, "reasoning_content")
    deltas = [chunk.choices[0].delta for chunk in create(**ask, **thought, stream=True)]
    check("".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == message.reasoning_content, "streamed thoughts")
    texts = ["The sea", "The wind"]
    vectors = client.embeddings.create(model=ask["model"], input=texts)  # as base64
    floats = client.embeddings.create(model=ask["model"], input=texts, encoding_format="float")
    check([item.embedding for item in vectors.data] == [item.embedding for item in floats.data] and len(vectors.data) == 2, "embeddings")
    check(all(abs(sum(x * x for x in item.embedding) - 1) < 1e-5 for item in vectors.data), "vectors of length 1")
    check(vectors.usage.prompt_tokens >= sum(map(len, texts)), "tokens of embeddings")
    whole = client.completions.create(model=ask["model"], prompt="Once", max_tokens=5, logprobs=2, seed=1).choices[0].logprobs
    check(len(whole.tokens) == len(whole.token_logprobs) == len(whole.text_offset) > 0, "logprobs of completions")
    for wrong in ({"logit_bias": {"9999": 1}}, {"top_logprobs": 21, "logprobs": True}, {"extra_body": {"grammar": "root ::= other"}},
                  {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}}):
        try:
            create(**ask, **wrong)
        except openai.BadRequestError as error:
            check(bool(error.message), "an error's message")
        else:
            check(False, f"no error: {wrong}")


def main():
    program, model = sys.argv[1:3]
    with tempfile.TemporaryDirectory() as folder:
        text_model(pathlib.Path(folder) / "tiny")
        server = Server(program, f"{folder}/tiny", "-t", "1")
        try:
            check_language_model(openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="any", max_retries=0))
            check(server.end() == 0, "the end of the language model")
        finally:
            server.process.kill()
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
