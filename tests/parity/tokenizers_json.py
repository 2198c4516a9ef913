#!/usr/bin/env python3
"""Goldens and random comparison for tokenizer.json and vocab.json + merges.txt folders.

    python tests/parity/tokenizers_json.py [write tests/goldens/tokenizers_json]
    python tests/parity/tokenizers_json.py fuzz build/release/tessera --rounds 40

`write` trains tiny tokenizers and records ids and decodes of a corpus. `fuzz` builds random
tokenizers and compares `tessera tokenize --json` with the packages on random strings. The WordPiece and Unigram
trainers are not deterministic, so `write` makes other vocabularies for these two every time.
Needs the packages of tests/parity/requirements.txt.
"""
import argparse
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
warnings.filterwarnings("ignore")

import tokenizers  # noqa: E402
import transformers  # noqa: E402
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models  # noqa: E402
from tokenizers import normalizers, pre_tokenizers, processors, trainers  # noqa: E402

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = [LLAMA3, QWEN2, TEKKEN, r"\p{Han}+", r"\d+|\w+|\b", r"[^\S\n]+|\n", r"(?i)a\w*", r"x*",
            r"[一-龥぀-ゟ゠-ヿ]+", r"\p{P}|\p{S}", r"^.|.$", r"[\p{L}&&[^a-z]]+", r"\s+$",
            r"\p{^L}+", r"[[:alpha:]]+", r"[[:punct:][:digit:]]", r"[\w\d]+|\s", r"\W+", r"\B", r"[^\w\s]",
            r"[[:upper:]][[:lower:]]*", r"[^[:alnum:]]", r"\p{Lu}\p{Ll}+|\pN", r"\S+\s?", r"(?m:.{3})", r"[^a[e-p]]",
            r"\p{Emoji}+", r"\p{Greek}|\p{Cyrillic}", r"\u0041|\x42|\x{43}", r"\b\w", r"[\w]+", r"\w\W", r"(?<!\w)\h+", r"\p{Alphabetic}+"]
CHATTY = ["<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<image>", "[MASK]", "it's", "Ünï",
          "▁<b>", " <sp> ", "New", "word", "Ab"]
ENGLISH = ("The quick brown fox jumps over the lazy dog. It's what they'll say: we've been there, "
           "haven't we? In 2024, 1234567 people used computers\n\nand def main():\n\treturn x + 1\n "
           "news new word words sword hello world   hello, HELLO world! ").split(" ")
BLOCKS = [(0x00, 0x7F), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF),
          (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x13FF), (0x1400, 0x18AF), (0x18B0, 0x1FFF),
          (0x2000, 0x206F), (0x2070, 0x2BFF), (0x2C00, 0x2FFF), (0x3000, 0x33FF), (0x3400, 0x9FFF),
          (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xF8FF), (0xF900, 0xFFFD), (0x10000, 0x1107F),
          (0x11080, 0x12FFF), (0x13000, 0x1CFFF), (0x1D000, 0x1EFFF), (0x1F000, 0x1FBFF),
          (0x20000, 0x323AF), (0xE0000, 0xE01EF), (0xF0000, 0x10FFFD)]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2028", "\u3000", "\u180e", "\u200b", "\u0085", "\x1c"]
ODD = ["'s", "'S", "'\u017f", "'LL", "don't", "e\u0301", "\u0301", "a\u0334\u0301\u0323", "\u1e9b\u0323",
       "\u0344", "\ufb01", "\u212b", "\uac00\u11a8", "\u1100\u1161\u11a8", "가각", "𝒳", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪",
       "\x00", "\ufffd", "\ufeff", "▁", "▁▁", "Ġ", "Ċ", "İstanbul", "ΣΑΣ", "ǅ", "ß", "1234567", "٣٤٥", "½²",
       "漢字かなカナ", "ﾊﾝｶｸ", "\u08ca\u0334", "\u1e08f\u0334", "\U00011938\u0301", "\U0001f16c", "㋿", "\ua7f2",
       "<0x0A>", "<0xFF>", "##ing", "</w>", "\U000323ab", "\U00010d50\U00010d70", "\u1c89", "ab" * 40]


def fragment(rng):
    kind = rng.randrange(12)
    if kind < 4:
        return rng.choice(ENGLISH)
    if kind < 6:
        return rng.choice(SPACES) * rng.choice([1, 1, 1, 2, 3])
    if kind < 8:
        return rng.choice(ODD)
    if kind == 8:
        return rng.choice(CHATTY)
    if kind == 9:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(1, 8))).decode("utf-8", "replace")
    first, last = rng.choice(BLOCKS)
    return "".join(chr(rng.randint(first, last)) for _ in range(rng.randrange(1, 5)))


def text(rng, most=12):
    parts = [fragment(rng) for _ in range(rng.randrange(0, most))]
    return "".join(p + (" " if rng.random() < 0.3 else "") for p in parts)


def corpus(rng, count):
    lines = ["", " ", "\n", "  ", "a", "\x00", "\u2028", " a", "a ", "\u180ea \u180e", "it'\u017f"]
    lines += ODD
    lines += ["".join(chr(rng.randint(a, b)) for _ in range(6)) for a, b in BLOCKS]
    lines += ["ab" * 300, " " * 70 + "x", "\n" * 9 + " \n x", "0123456789" * 4, "The quick brown fox " * 3]
    while len(lines) < count:
        lines.append(text(rng))
    return lines[:count]


def training(rng):
    return [" ".join(rng.choice(ENGLISH) for _ in range(40)) for _ in range(30)] + [
        "".join(fragment(rng) for _ in range(20)) for _ in range(30)]


def byte_level_bpe(rng, size, pre, normalizer=None, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(training(rng), trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False))
    return tokenizer


def split_bytes(pattern, behavior="isolated", prefix=False):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior),
                                    pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=False)])


def template(before, after, tokenizer):
    single = " ".join(before + ["$A"] + after)
    names = [(t, tokenizer.token_to_id(t)) for t in dict.fromkeys(before + after)]
    return processors.TemplateProcessing(single=single, pair=single + " $B", special_tokens=names)


def metaspace_bpe(rng, size, scheme="first", split=False):
    tokenizer = Tokenizer(models.BPE(fuse_unk=True, byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    byte_tokens = ["<0x%02X>" % b for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens,
                                  limit_alphabet=60, max_token_length=12, show_progress=False)
    lines = [line.replace(" ", " ") for line in training(rng)[:30]]
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=True)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = [t for t in saved["added_tokens"] if t["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence(parts + ([decoders.Strip(" ", 1, 0)] if scheme != "never" else []))
    tokenizer.post_processor = template(["<s>"], [], tokenizer)
    return tokenizer


def charsmap(rules):
    """SentencePiece's precompiled character map: {key: replacement} as a Darts array and its strings."""
    tree, strings = {}, b""
    for key, value in rules.items():
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(strings)  # keys hold no NUL
        strings += value.encode() + b"\0"
    units, taken, bases = [0], {0}, set()

    def place(node, position, unit):
        base = next(b for b in range(1, 1 << 20) if b not in bases and not any(b ^ c in taken for c in node))
        bases.add(base)
        places = {byte: base ^ byte for byte in node}
        taken.update(places.values())
        units.extend([0] * (max(places.values()) + 1 - len(units)))
        units[position] = (base ^ position) << 10 | (0 in node) << 8 | unit
        for byte, child in node.items():
            if byte == 0:
                units[base] = 1 << 31 | child
            else:
                place(child, places[byte], byte)

    place(tree, 0, 0)
    units += [0] * (-len(units) % 256)
    return struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + strings


# Keys that begin, end and fill grapheme clusters of up to and over 5 bytes; some are prefixes of others.
MAP_RULES = {"\u00e9": "e\u0301", "\ufb01": "fi", "A": "a", "AB": "xy", "\u00df": "", "e\u0301": "E", "\u0301": "'", "\u0600": "#",
             "\u0915": "k", "\u094d": "", "\u00a9": "(c)", "\U0001f469": "w", "\u200d": "+", "\r": "\n", "\u1100\u1161": "\uac00",
             "\u1161": "o", "\u3000": " ", "\u2028": " ", "\u00bd": "1/2", "\uff76\uff9e": "\u30ac", "\uff76": "\u30ab", "\t": " ",
             "\u0130": "i", "\U00011938": "", "1": "one ", "\u200b": "", "\u017f": "s", "\u0e33": "\u0e4d\u0e32"}
CLUSTERS = ["e", "A", "\u00e9", "\u0301", "\u0300", "\u0327", "\u0903", "\u0600", "\u0604", "\u200d", "\u200c", "\u00a9",
            "\u2764", "\ufe0f", "\U0001f469", "\U0001f1e9", "\u0915", "\u0937", "\u094d", "\u093c", "\u0d4e", "\u1100", "\u1161",
            "\u11a8", "\uac00", "\uac01", "\ua960", "\ud7b0", "\r", "\n", "\x00", "\u200b", "\U000e0001", "\U00016d63", "\U000110bd",
            "\u0e33", "\u17d2", "\u1780", "\u3099", "\uff76", "\uff9e"]


def cluster_text(rng):
    characters = [rng.choice(CLUSTERS) if rng.random() < 0.8 else chr(rng.randint(*rng.choice(BLOCKS)))
                  for _ in range(rng.randrange(1, 14))]
    return "".join(characters)


def random_map(rng):
    keys = [fragment(rng)[:rng.randrange(1, 4)].replace("\0", "") for _ in range(30)] + CLUSTERS
    keys = [key for key in rng.sample(keys, 40) if key and key != "\0"]
    return charsmap({key: rng.choice(["", " ", "a", "xy", fragment(rng).replace("\0", "")]) for key in keys})


def odd_tokens(rng, count, special=0.4):
    tokens = []
    for content in rng.sample(CHATTY, count):
        flags = {f: rng.random() < 0.4 for f in ("lstrip", "rstrip", "single_word", "normalized")}
        tokens.append(AddedToken(content, special=rng.random() < special, **flags))
    return tokens


# ---- the folders of the goldens ---------------------------------------------------------------

def save(folder, tokenizer, config=None, **files):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        f.write(tokenizer.to_str())
    write_files(folder, config, files)


def save_vocab(folder, tokenizer, config=None, **files):
    os.makedirs(folder, exist_ok=True)
    tokenizer.model.save(folder)
    write_files(folder, config, files)


def write_files(folder, config, files):
    if config is not None:
        files = {**files, "tokenizer_config": config}
    for name, content in files.items():
        with open(os.path.join(folder, name + ".json"), "w") as f:
            json.dump(content, f)


def golden_folders(root, rng):
    def path(name):
        return os.path.join(root, name)

    gpt2 = byte_level_bpe(rng, 420, pre_tokenizers.ByteLevel(add_prefix_space=False))
    gpt2.add_special_tokens(["<|endoftext|>"])
    save(path("gpt2"), gpt2)

    llama3 = byte_level_bpe(rng, 420, split_bytes(LLAMA3), ignore_merges=True)
    llama3.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    llama3.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template(["<|begin_of_text|>"], [], llama3)])
    save(path("llama3"), llama3, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin_of_text|>",
                                  "eos_token": "<|end_of_text|>", "add_bos_token": False})

    qwen2 = byte_level_bpe(rng, 420, split_bytes(QWEN2), normalizers.NFC())
    qwen2.add_tokens([AddedToken("<|endoftext|>", special=True, normalized=False),
                      AddedToken("<|im_start|>", special=True, normalized=False),
                      AddedToken("<|im_end|>", special=True, normalized=False),
                      AddedToken("<tool_call>", special=False, normalized=False)])
    save(path("qwen2"), qwen2, {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>",
                                "pad_token": "<|endoftext|>", "add_prefix_space": False})

    save_vocab(path("qwen2_vocab"), byte_level_bpe(rng, 400, split_bytes(QWEN2), normalizers.NFC()),
               {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>",
                "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]},
               added_tokens={"<|endoftext|>": 400, "<|im_start|>": 401, "<|im_end|>": 402, "<image>": 403})

    save_vocab(path("gpt2_vocab"), byte_level_bpe(rng, 400, pre_tokenizers.ByteLevel(add_prefix_space=False)),
               {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": True},
               special_tokens_map={"bos_token": {"content": "<s>", "lstrip": False, "rstrip": False,
                                                 "normalized": True, "single_word": False},
                                   "mask_token": {"content": "<mask>", "lstrip": True, "rstrip": False,
                                                  "normalized": False, "single_word": False}})

    llama = metaspace_bpe(rng, 420)
    llama.add_tokens([AddedToken("<image>", special=False, normalized=False),
                      AddedToken("▁<b>", special=False, normalized=False)])
    save(path("llama"), llama, {"tokenizer_class": "LlamaTokenizer", "legacy": False, "bos_token": "<s>",
                                "eos_token": "</s>", "unk_token": "<unk>"})

    old = metaspace_bpe(rng, 400)
    old.pre_tokenizer = None
    old.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    save(path("llama_prepend"), old)

    mapped = metaspace_bpe(random.Random(11), 420)
    mapped.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap(MAP_RULES)),
                                              normalizers.Replace(Regex(" {2,}"), " ")])
    save(path("precompiled"), mapped)

    tekken = byte_level_bpe(rng, 400, split_bytes(TEKKEN))
    tekken.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tekken.add_tokens(odd_tokens(random.Random(5), 9))
    save(path("odd_tokens"), tekken)

    bert = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    bert.normalizer = normalizers.BertNormalizer()
    bert.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bert.decoder = decoders.WordPiece()
    bert.train_from_iterator(training(rng), trainers.WordPieceTrainer(
        vocab_size=350, limit_alphabet=80, show_progress=False, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"]))
    bert.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    save(path("bert"), bert)

    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(),
                                               normalizers.Replace(Regex(" {2,}"), " ")])
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.decoder = decoders.Metaspace()
    unigram.train_from_iterator(training(rng)[:30], trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False))
    unigram.post_processor = template([], ["</s>"], unigram)
    save(path("unigram"), unigram)


# ---- random tokenizers ------------------------------------------------------------------------

def random_normalizer(rng):
    n = normalizers
    makers = [n.NFC, n.NFD, n.NFKC, n.NFKD, n.Lowercase, n.StripAccents, n.Nmt,
              lambda: n.Strip(rng.random() < 0.5, rng.random() < 0.5), lambda: n.Prepend("▁"),
              lambda: n.Precompiled(random_map(rng)),
              lambda: n.Replace(" ", "▁"), lambda: n.Replace(Regex(r"\s+"), " "), lambda: n.Replace("a", ""),
              lambda: n.BertNormalizer(*[rng.random() < 0.5 for _ in range(4)]),
              lambda: n.Replace(Regex(rng.choice(PATTERNS[3:])), "_")]
    return n.Sequence([rng.choice(makers)() for _ in range(rng.randrange(1, 4))])


def random_pretokenizer(rng, byte_level):
    p = pre_tokenizers
    behaviors = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]

    def one():
        return rng.choice([
            lambda: p.Split(Regex(rng.choice(PATTERNS)), rng.choice(behaviors), rng.random() < 0.3),
            lambda: p.Split(rng.choice([" ", "a", "'", "he"]), rng.choice(behaviors), rng.random() < 0.3),
            p.Whitespace, p.WhitespaceSplit, lambda: p.Punctuation(rng.choice(behaviors)),
            lambda: p.Digits(rng.random() < 0.5), p.BertPreTokenizer, lambda: p.CharDelimiterSplit("e"),
            lambda: p.FixedLength(rng.randrange(1, 7)),
            lambda: p.Metaspace("▁", rng.choice(["always", "first", "never"]), rng.random() < 0.5)])()

    parts = [one() for _ in range(rng.randrange(0, 3))]
    if byte_level:
        parts.append(p.ByteLevel(rng.random() < 0.5, use_regex=rng.random() < 0.6))
    return p.Sequence(parts) if parts else None


def random_decoder(rng, byte_level):
    d = decoders
    if byte_level:
        return d.ByteLevel()
    return rng.choice([
        lambda: None, d.Metaspace, lambda: d.WordPiece("##", rng.random() < 0.5), d.BPEDecoder, d.CTC,
        lambda: d.Sequence([d.Replace("▁", " "), d.ByteFallback(), d.Fuse(), d.Strip(" ", 1, 1)]),
        lambda: d.Sequence([d.ByteFallback(), d.Replace(Regex(r"\s+"), " "), d.Strip("a", 2, 0)])])()


def random_model(rng, tokenizer_factory):
    kind = rng.choice(["bpe", "bpe", "bpe", "fallback", "suffix", "wordpiece", "wordlevel", "unigram"])
    common = dict(show_progress=False, special_tokens=["<unk>", "<s>", "</s>"])
    if kind == "bpe":
        model, trainer = models.BPE(ignore_merges=rng.random() < 0.4, unk_token=rng.choice([None, "<unk>"]),
                                    fuse_unk=rng.random() < 0.5), trainers.BpeTrainer(
            vocab_size=rng.choice([340, 600, 1200]), **common,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    elif kind == "fallback":
        some = ["<0x%02X>" % b for b in range(256) if rng.random() < rng.choice([0.5, 2])]
        common["special_tokens"] += some
        model, trainer = models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=rng.random() < 0.5), \
            trainers.BpeTrainer(vocab_size=700, limit_alphabet=60, **common)
    elif kind == "suffix":
        extra = rng.choice([dict(end_of_word_suffix="</w>"), dict(continuing_subword_prefix="##")])
        model = models.BPE(unk_token="<unk>", **extra)
        trainer = trainers.BpeTrainer(vocab_size=500, limit_alphabet=70, **common, **extra)
    elif kind == "wordpiece":
        model = models.WordPiece(unk_token="<unk>", max_input_chars_per_word=rng.choice([100, 5]))
        trainer = trainers.WordPieceTrainer(vocab_size=400, limit_alphabet=90, **common)
    elif kind == "wordlevel":
        model, trainer = models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=200, **common)
    else:
        model, trainer = models.Unigram(), trainers.UnigramTrainer(vocab_size=1500, unk_token="<unk>", **common)
    return kind, model, trainer


def random_folder(rng, folder):
    kind, model, trainer = random_model(rng, None)
    byte_level = kind == "bpe" and rng.random() < 0.8
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel() if byte_level else pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(training(rng), trainer)
    if rng.random() < 0.6:
        tokenizer.normalizer = random_normalizer(rng)
    pre = random_pretokenizer(rng, byte_level)
    if pre is not None:
        tokenizer.pre_tokenizer = pre
    decoder = random_decoder(rng, byte_level)
    if decoder is not None:
        tokenizer.decoder = decoder
    saved = json.loads(tokenizer.to_str())
    if pre is None:
        saved["pre_tokenizer"] = None
    saved["added_tokens"] = saved["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    if rng.random() < 0.7:
        tokenizer.add_tokens(odd_tokens(rng, rng.randrange(1, 9)))
    added = [t for t in tokenizer.get_added_tokens_decoder().values() if t.normalized]
    forms = [tokenizer.normalizer.normalize_str(t.content) if tokenizer.normalizer else t.content for t in added]
    if len(set(forms)) < len(forms):  # which of two equal forms wins is random in the reference
        raise ValueError("two added tokens with one normalized form")
    if rng.random() < 0.5:
        tokenizer.post_processor = template(["<s>"], rng.choice([[], ["</s>"]]), tokenizer)
    config = None
    if rng.random() < 0.5:
        config = {"tokenizer_class": rng.choice(["PreTrainedTokenizerFast", "Qwen2Tokenizer", "GPT2TokenizerFast",
                                                 "LlamaTokenizerFast", "GPTNeoXTokenizer"])}
        if kind in ("wordpiece", "wordlevel", "unigram"):
            config["tokenizer_class"] = "PreTrainedTokenizerFast"
        if rng.random() < 0.5:
            config.update(bos_token="<s>", eos_token="</s>", pad_token="<pad>", add_bos_token=True)
        if rng.random() < 0.3:
            config["image_token"] = "<image>"
        if rng.random() < 0.3:
            config["additional_special_tokens"] = ["<|im_start|>", "word"]
        for key in ("legacy", "add_prefix_space", "split_special_tokens", "clean_up_tokenization_spaces"):
            if rng.random() < 0.3:
                config[key] = rng.random() < 0.7
        if rng.random() < 0.3:
            config["mask_token"] = dict(__type="AddedToken", content="[MASK]", lstrip=rng.random() < 0.5,
                                        rstrip=False, normalized=rng.random() < 0.5, single_word=False)
        if rng.random() < 0.4:
            config["added_tokens_decoder"] = {
                str(i): dict(content=t.content, special=t.special, lstrip=rng.random() < 0.3, rstrip=t.rstrip,
                             single_word=t.single_word, normalized=t.normalized)
                for i, t in tokenizer.get_added_tokens_decoder().items()}
    files, model_config = {}, None
    if config is not None and kind in ("bpe", "fallback", "suffix") and rng.random() < 0.3:
        model_config = {"model_type": rng.choice(["llama", "qwen2", "qwen3", "mistral", "gpt2", "mamba"])}
    if config is not None and rng.random() < 0.3:
        files["special_tokens_map"] = {"eos_token": rng.choice(CHATTY), "additional_special_tokens": ["Ab"]}
    save(folder, tokenizer, config, **files)
    if model_config:
        write_files(folder, None, {"config": model_config})


def random_vocab_folder(rng, folder):
    tokenizer = byte_level_bpe(rng, rng.choice([300, 420, 700]), pre_tokenizers.ByteLevel())
    config = {"tokenizer_class": rng.choice(["GPT2Tokenizer", "Qwen2Tokenizer", "GPT2TokenizerFast",
                                             "Qwen2TokenizerFast", "GPTNeoXTokenizer"])}
    for key in ("add_bos_token", "add_eos_token", "add_prefix_space"):
        if rng.random() < 0.4:
            config[key] = rng.random() < 0.7
    for key in ("bos_token", "eos_token", "unk_token", "pad_token", "mask_token", "image_token"):
        if rng.random() < 0.3:
            config[key] = rng.choice(CHATTY + [None])
    files = {}
    size = tokenizer.get_vocab_size()
    if rng.random() < 0.3:
        config["additional_special_tokens"] = rng.sample(CHATTY, 2)
    mode = rng.randrange(4)
    if mode == 0:
        config["added_tokens_decoder"] = {
            str(size + i): dict(content=c, special=rng.random() < 0.5, **{
                f: rng.random() < 0.3 for f in ("lstrip", "rstrip", "single_word", "normalized")})
            for i, c in enumerate(rng.sample(CHATTY, 5))}
    elif mode < 3:
        files["added_tokens"] = {c: size + i for i, c in enumerate(rng.sample(CHATTY, rng.randrange(1, 6)))}
        if mode == 2:
            files["special_tokens_map"] = {
                "eos_token": rng.choice(CHATTY),
                "bos_token": dict(content=rng.choice(CHATTY), lstrip=rng.random() < 0.5, rstrip=False,
                                  normalized=rng.random() < 0.5, single_word=False)}
    save_vocab(folder, tokenizer, config, **files)


# ---- comparison -------------------------------------------------------------------------------

class Reference:
    """AutoTokenizer where there is a tokenizer_config.json, else tokenizers alone."""

    def __init__(self, folder):
        if os.path.exists(os.path.join(folder, "tokenizer_config.json")):
            self.auto = transformers.AutoTokenizer.from_pretrained(folder)
            self.size = len(self.auto)
        else:
            self.auto = None
            self.raw = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
            self.size = self.raw.get_vocab_size()

    def encode(self, line):
        return self.auto.encode(line) if self.auto else self.raw.encode(line).ids

    def decode(self, ids):
        if not ids:
            return ""
        return self.auto.decode(ids) if self.auto else self.raw.decode(ids, skip_special_tokens=False)


def random_ids(rng, reference, count):
    known = set((reference.auto or reference.raw).get_vocab().values())
    known = sorted(known)
    return [[rng.choice(known) for _ in range(rng.randrange(0, 9))] for _ in range(count)]


def run_tool(tool, folder, lines, decode=False):
    command = [tool, "tokenize", folder, "--json"] + (["--decode"] if decode else [])
    done = subprocess.run(command, text=True, capture_output=True,
                          input="".join(json.dumps(line) + "\n" for line in lines))
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def fuzz(tool, rounds, strings, seed):
    compared = decoded = bad = skipped = 0
    for round_number in range(rounds):
        rng = random.Random(seed + round_number)
        folder = tempfile.mkdtemp()
        try:
            (random_vocab_folder if round_number % 4 == 3 else random_folder)(rng, folder)
            reference = Reference(folder)
        except BaseException as error:  # pyo3 panics are BaseException
            print(f"round {round_number}: reference refuses: {str(error)[:100]}")
            skipped += 1
            shutil.rmtree(folder)
            continue
        lines = corpus(rng, 120) + [text(rng, 20) for _ in range(strings)] + [cluster_text(rng) for _ in range(100)]
        try:
            ours = run_tool(tool, folder, lines)
        except RuntimeError as error:
            print(f"round {round_number} ({folder}): {error}")
            bad += 1
            continue
        failures = []
        ids = []
        for line, got in zip(lines, ours):
            try:
                want = reference.encode(line)
            except BaseException:
                continue
            compared += 1
            ids.append(want)
            if want != got:
                failures.append((line, want, got))
        ids = ids[:200] + random_ids(rng, reference, 100)
        try:
            texts = run_tool(tool, folder, ids, decode=True)
        except RuntimeError as error:
            texts = []
            failures.append((f"{folder} --decode", "", str(error)))
        for sequence, got in zip(ids, texts):
            try:
                want = reference.decode(sequence)
            except BaseException:
                continue
            decoded += 1
            if want != got:
                failures.append((sequence, want, got))
        if failures:
            bad += len(failures)
            print(f"round {round_number} ({folder}): {len(failures)} differences")
            for line, want, got in failures[:3]:
                print("   input", json.dumps(line)[:300], "\n   want ", json.dumps(want)[:300], "\n   got  ",
                      json.dumps(got)[:300])
        else:
            shutil.rmtree(folder)
    print(f"{rounds} tokenizers ({skipped} refused by the reference), {compared} encodes and {decoded} decodes "
          f"compared, {bad} differences")
    return bad


def write(root, seed):
    rng = random.Random(seed)
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    golden_folders(root, rng)
    lines = corpus(rng, 200)
    with open(os.path.join(root, "corpus.json"), "w") as f:
        json.dump({"tokenizers": tokenizers.__version__, "transformers": transformers.__version__,
                   "texts": lines}, f, separators=(",", ":"))
    for name in sorted(os.listdir(root)):
        folder = os.path.join(root, name)
        if not os.path.isdir(folder):
            continue
        file = os.path.join(folder, "tokenizer.json")
        if os.path.exists(file):
            with open(file) as f:
                content = json.load(f)
            with open(file, "w") as f:
                json.dump(content, f, separators=(",", ":"), ensure_ascii=False)
        reference = Reference(folder)
        ids = [reference.encode(line) for line in lines]
        odd = random_ids(rng, reference, 40)
        with open(os.path.join(folder, "expected.json"), "w") as f:
            json.dump({"ids": ids, "texts": [reference.decode(i) for i in ids[::3]],
                       "random_ids": odd, "random_texts": [reference.decode(i) for i in odd]}, f,
                      separators=(",", ":"), ensure_ascii=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=20260101)
    parser.set_defaults(root=os.path.join(os.path.dirname(__file__), "..", "goldens", "tokenizers_json"))
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("write").add_argument("root")
    fuzzer = commands.add_parser("fuzz")
    fuzzer.add_argument("tool")
    fuzzer.add_argument("--rounds", type=int, default=40)
    fuzzer.add_argument("--strings", type=int, default=400)
    arguments = parser.parse_args()
    if arguments.command == "fuzz":
        return 1 if fuzz(arguments.tool, arguments.rounds, arguments.strings, arguments.seed) else 0
    write(arguments.root, arguments.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
