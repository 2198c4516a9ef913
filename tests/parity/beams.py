"""Goldens of beam search from huggingface/transformers (tests/parity/requirements.txt).

Usage: beams.py [OUT] [--seed N] [--random CASES]

OUT/<name>/ is a tiny Llama folder with parity.safetensors beside it, as llama.py writes; its cases are calls of
`generate` with beams. --random adds this many folders with cases of random settings.
"""

import argparse
import json
import pathlib
import random

import safetensors.torch
import torch
import transformers

import llama

EARLY = [False, True, "never"]


def settings(draw):
    """Random settings of one call."""
    beams = draw.choice([2, 2, 3, 5])
    chosen = dict(num_beams=beams, num_return_sequences=draw.randint(1, beams),
                  length_penalty=draw.choice([-1.0, 0.0, 0.5, 1.0, 2.0]), early_stopping=draw.choice(EARLY))
    if draw.random() < 0.3:
        chosen["repetition_penalty"] = draw.choice([0.8, 1.3])
    if draw.random() < 0.3:
        chosen["no_repeat_ngram_size"] = draw.choice([1, 2, 3])
    if draw.random() < 0.3:
        chosen["min_new_tokens"] = draw.choice([2, 6])
    return chosen


def build(name, out, seed, calls, eos, new):
    torch.manual_seed(seed)
    config = llama.config(vocab_size=23, hidden_size=12, intermediate_size=10, num_hidden_layers=1,
                          num_attention_heads=2, num_key_value_heads=1, head_dim=6, eos_token_id=eos)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
    with torch.no_grad():
        for key, value in model.named_parameters():
            value.normal_(1.0 if "norm" in key else 0.0, 0.5)
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    llama.write_weights(folder, model)
    llama.write_config(folder, model)
    generation = dict(bos_token_id=1, eos_token_id=eos)
    if seed % 2:
        generation["pad_token_id"] = seed % 4 // 2  # 0 is read as no pad id
    (folder / "generation_config.json").write_text(json.dumps(generation))
    model.generation_config = transformers.GenerationConfig(**generation)
    record = {}
    for index, chosen in enumerate(calls):
        ids = torch.randint(3, 23, (3, 5))
        inputs = dict(input_ids=ids)
        # The reference counts padding among the n-grams; tessera does not.
        if index % 3 == 1 and "no_repeat_ngram_size" not in chosen:
            mask = torch.ones_like(ids)
            mask[1, :3] = 0
            mask[2, :1] = 0
            inputs["attention_mask"] = mask
        with torch.no_grad():
            sequences = model.generate(**inputs, max_new_tokens=new, do_sample=False, **chosen)
        stored = dict(inputs, max_new_tokens=torch.tensor([new]))
        for key, value in chosen.items():
            value = EARLY.index(value) if key == "early_stopping" else value
            stored[key] = torch.tensor([value])
        case = f"generate.c{index:02}"
        for key, value in stored.items():
            record[f"{case}.in.{key}"] = value.contiguous()
        record[f"{case}.out.sequences"] = sequences.contiguous()
    safetensors.torch.save_file(record, str(folder / "parity.safetensors"))
    (folder / "parity.json").write_text(json.dumps(dict(
        generator="tests/parity/beams.py", seed=seed, transformers=transformers.__version__,
        torch=torch.__version__.split("+")[0]), indent=1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path, nargs="?",
                        default=pathlib.Path(__file__).parents[1] / "goldens" / "beams")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--random", type=int, default=0)
    args = parser.parse_args()
    grid = [dict(num_beams=3, num_return_sequences=2, length_penalty=penalty, early_stopping=early)
            for penalty in (0.0, 1.0, -0.5) for early in EARLY]
    grid += [dict(num_beams=4, no_repeat_ngram_size=2), dict(num_beams=2, min_new_tokens=5, num_return_sequences=2),
             dict(num_beams=3, repetition_penalty=1.3)]
    build("one_end", args.out, args.seed, grid, 2, 9)
    build("two_ends", args.out, args.seed + 1, grid, [2, 5], 9)
    for i in range(args.random):
        draw = random.Random(args.seed * 1000 + i)
        calls = [settings(draw) for _ in range(24)]
        build(f"random{i}", args.out, args.seed + 2 + i, calls, draw.choice([2, [2, 5, 7]]), draw.choice([1, 6, 14]))


if __name__ == "__main__":
    main()
