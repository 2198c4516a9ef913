#!/usr/bin/env python3
"""Goldens of byte-level BPE training, and a check of folders that tessera wrote.

    python tests/parity/bpe_trainer.py [write tests/goldens/bpe_trainer]
    python tests/parity/bpe_trainer.py check FOLDER build/release/tessera

`write` trains small vocabularies with the `tokenizers` package. `check` compares a folder's ids by
transformers' AutoTokenizer with those of `tessera tokenize` on random texts. Needs the packages of
tests/parity/requirements.txt.
"""
import argparse
import json
import pathlib
import random
import subprocess

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<unk>", "<s>", "</s>"]
WORDS = ("two red circles above a cat on green grass; what is left of the blue star? It's a dog's bone, "
         "we'll see them all: 6/8 in D major 1234 don't Paint what I describe. Here it is! über 猫 🐱 aaaa aaaaaaa").split(" ")


def sentences(seed, count):
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 9))) + rng.choice(["", ".", "\n", "  "])
            for _ in range(count)]


def letters(seed, count):
    """Few letters, so that counts are often equal and pairs overlap."""
    rng = random.Random(seed)
    return ["".join(rng.choice("ab") for _ in range(rng.randrange(0, 30))) + " " + "".join(rng.choice("abc ") for _ in range(9))
            for _ in range(count)]


def train(corpus, vocab_size, min_frequency):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=min_frequency, special_tokens=SPECIAL,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), model["merges"]


def write(folder):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for name, corpus, vocab_size, min_frequency in [
            ("sentences", sentences(1, 60), 400, 2), ("rare pairs too", sentences(2, 20), 600, 0),
            ("frequent pairs", sentences(3, 60), 1000, 9), ("overlaps", letters(4, 40), 420, 2),
            ("overlaps, once", letters(5, 12), 700, 1)]:
        pieces, merges = train(corpus, vocab_size, min_frequency)
        cases.append({"name": name, "corpus": corpus, "vocab_size": vocab_size, "min_frequency": min_frequency,
                      "pieces": pieces, "merges": merges})
    (folder / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")


def check(folder, program):
    from transformers import AutoTokenizer
    reference = AutoTokenizer.from_pretrained(folder)
    rng = random.Random(6)
    added = [token for token in reference.get_vocab() if token.startswith(("<", "["))]
    texts = sentences(7, 300) + letters(8, 100)
    texts = [text + "".join(rng.choice(added) for _ in range(rng.randrange(4))) + rng.choice(["", " x"])
             for text in texts]
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    ids = subprocess.run([program, "tokenize", folder, "--json"], input=lines, text=True, capture_output=True, check=True).stdout
    ours = [json.loads(line) for line in ids.splitlines()]
    theirs = [reference(text)["input_ids"] for text in texts]
    print(f"{sum(a == b for a, b in zip(ours, theirs, strict=True))} of {len(texts)} texts have equal ids, "
          f"{len(reference)} tokens")
    assert ours == theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(folder=pathlib.Path(__file__).parents[1] / "goldens" / "bpe_trainer")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("write").add_argument("folder")
    checker = commands.add_parser("check")
    checker.add_argument("folder")
    checker.add_argument("program")
    arguments = parser.parse_args()
    if arguments.command == "check":
        check(arguments.folder, arguments.program)
    else:
        write(arguments.folder)


if __name__ == "__main__":
    main()
