#!/usr/bin/env python3
"""Writes a GGUF file of the 1.1 G Llama shape with random bf16 weights and no vocabulary, for measuring.

usage: random_llama_gguf.py OUTPUT.gguf
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Standard library only.
"""

import os
import struct
import sys

WIDTH, LAYERS, INNER, HEADS, KEY_HEADS, VOCABULARY = 2048, 22, 5632, 32, 4, 32000
F32, BF16 = 0, 30  # tensor types
ALIGNMENT = 32


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def entry(key, value):
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", 6, value)
    return text(key) + struct.pack("<II", 4, value)


def tensors():
    """Name, shape with the row width first, type."""
    yield "token_embd.weight", (WIDTH, VOCABULARY), BF16
    for i in range(LAYERS):
        keys = WIDTH // HEADS * KEY_HEADS
        yield f"blk.{i}.attn_norm.weight", (WIDTH,), F32
        yield f"blk.{i}.attn_q.weight", (WIDTH, WIDTH), BF16
        yield f"blk.{i}.attn_k.weight", (WIDTH, keys), BF16
        yield f"blk.{i}.attn_v.weight", (WIDTH, keys), BF16
        yield f"blk.{i}.attn_output.weight", (WIDTH, WIDTH), BF16
        yield f"blk.{i}.ffn_norm.weight", (WIDTH,), F32
        yield f"blk.{i}.ffn_gate.weight", (WIDTH, INNER), BF16
        yield f"blk.{i}.ffn_up.weight", (WIDTH, INNER), BF16
        yield f"blk.{i}.ffn_down.weight", (INNER, WIDTH), BF16
    yield "output_norm.weight", (WIDTH,), F32
    yield "output.weight", (WIDTH, VOCABULARY), BF16


def size_of(shape, kind):
    count = 1
    for extent in shape:
        count *= extent
    return count * (4 if kind == F32 else 2)


def random_bf16(count):
    """Numbers of either sign between 2^-8 and 2^-6."""
    high = os.urandom(count).translate(bytes(0x3C if i < 128 else 0xBC for i in range(256)))
    data = bytearray(2 * count)
    data[0::2] = os.urandom(count)
    data[1::2] = high
    return bytes(data)


def write(file):
    metadata = {
        "general.architecture": "llama", "general.name": "random 1.1b", "llama.vocab_size": VOCABULARY,
        "llama.context_length": 2048, "llama.embedding_length": WIDTH, "llama.block_count": LAYERS,
        "llama.feed_forward_length": INNER, "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KEY_HEADS, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": WIDTH // HEADS, "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": "no_vocab",
    }  # fmt: skip
    all_tensors = list(tensors())
    file.write(b"GGUF" + struct.pack("<IQQ", 3, len(all_tensors), len(metadata)))
    for key, value in metadata.items():
        file.write(entry(key, value))
    offset = 0
    for name, shape, kind in all_tensors:
        file.write(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
        offset += -(-size_of(shape, kind) // ALIGNMENT) * ALIGNMENT
    file.write(bytes(-file.tell() % ALIGNMENT))
    pool = random_bf16(1 << 22)
    for _, shape, kind in all_tensors:
        size = size_of(shape, kind)
        if kind == F32:
            file.write(struct.pack("<f", 1.0) * (size // 4))
        else:
            for at in range(0, size, len(pool)):
                file.write(pool[: min(len(pool), size - at)])
        file.write(bytes(-size % ALIGNMENT))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1] + ".part", "wb") as file:
        write(file)
    os.rename(sys.argv[1] + ".part", sys.argv[1])


if __name__ == "__main__":
    main()
