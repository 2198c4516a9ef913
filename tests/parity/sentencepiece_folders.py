"""Writes tests/goldens/sentencepiece: small trained models, tokenizer folders, and what the
reference packages (requirements-legacy.txt) make of a corpus of awkward strings.

  python sentencepiece_folders.py [--out tests/goldens/sentencepiece] [--fuzz tests/fuzz/corpus/sentencepiece]

Each case folder holds the tokenizer files and cases.json:
  {"versions": {...}, "bare": B, "folder": F} with
  B = {"encode": [[text or list of bytes, ids]...], "decode": [[ids, text]...]}   sentencepiece
  F = the same                                                                  LlamaTokenizer
"""

import argparse
import io
import json
import random
import shutil
import unicodedata
from pathlib import Path

import sentencepiece as spm
import transformers
from transformers import AddedToken, LlamaTokenizer
from transformers.convert_slow_tokenizer import import_protobuf

pb = import_protobuf()
transformers.logging.set_verbosity_error()

SEED = 20240
WORDS = (
    "the of and to in is music speech image token model hello world sound voice picture sing song "
    "play note chord we you they has been 12 7 2024 3.14 re-do don't naïve café Straße привет мир "
    "музыка 東京 音楽 こんにちは 你好 世界 안녕 नमस्ते مرحبا"
).split()
ANYGPT = ["<soim>", "<eoim>", "<sosp>", "[Human]", "[AnyGPT]", "<eoh>", "<🗣️0>", "<🗣️1>", "<🗣️10>", "<🖼️7>", "<🎶3>"]


def train(name, **options):
    rng = random.Random(f"{SEED} {name}")
    lines = [
        " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 9))) + rng.choice([".", "!", "", "?"])
        for _ in range(600)
    ]
    lines += ["a  b   c", "tab\there"] * 10
    model = io.BytesIO()
    options = {"character_coverage": 1.0, "hard_vocab_limit": False, "minloglevel": 2, **options}
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **options)
    return model.getvalue()


def edited(model, edit):
    """The model after a change to its message (things that the trainer cannot write)."""
    proto = pb.ModelProto.FromString(model)
    edit(proto)
    return proto.SerializeToString()


def every_block():
    """One assigned character of each 128, eight in a string."""
    picks = []
    for start in list(range(0, 0x20000, 0x80)) + [0x20000, 0x2A700, 0xE0000, 0xE0100, 0xF0000, 0x10FF80]:
        block = [chr(c) for c in range(start, start + 0x80) if unicodedata.category(chr(c)) not in ("Cn", "Cs")]
        if block:
            picks.append(block[len(block) // 2])
    return ["".join(picks[i : i + 16]) for i in range(0, len(picks), 16)]


def awkward(tokens):
    texts = ["", " ", "  ", "\n", "\t", "\x00", "a\x00b", "hello", " hello", "  hello", "hello ", "hello  ", "hello world"]
    texts += ["a  b   c", "a\tb", "a\nb\r\nc", "\u3000全角\u3000", "ＡＢＣ１２３", "ﬁﬂ ﬀi", "①②㍿㌔", "e\u0301 é", "Å Å Å"]
    texts += ["👨‍👩‍👧‍👦 zwj", "🗣️", "🗣", "🇩🇪🇯🇵", "x\u200by\u00a0z\u2028w\u0085v", "▁", "▁▁a", "a▁b", "▁hello", "ſtraße ŉ"]
    texts += ["<s>", "</s>", "<unk>", "<0x41>", "<0x0A>", "<s>hello</s> the", "hello<unk>world", "<s><s>", "x<s", "<pad>"]
    texts += ["1234567890", "3.14 2024", "don't re-do", "Straße café naïve", "привет мир", "東京音楽", "안녕 नमस्ते مرحبا"]
    texts += ["\ufeffbom", "\ue000private", "\U0010fffd", "ｶﾞｷﾞ", "\ufffd", "aaaa", "aaaaaaa", "hellohellohello", "tthhee"]
    texts += [" \u3000 \t mixed \n white  ", "music" * 20, "<ctl>", "ctl", "<ud>x<ud>", "<u", "the<ud>the"]
    for token in tokens:
        texts += [token, token + token, f"hello{token}world", f"hello {token} world", f" {token} ", f"  {token}\n"]
        texts += [token[:-1], f"{token} <s>{token}</s>", f"▁{token}▁"]
    texts += ["".join(tokens), " ".join(tokens), "\n".join(tokens)]
    return texts


BYTES = [
    [0xFF], [0x80, 0x81], [0xC3], [0x61, 0xC3, 0x28, 0x62], [0xE2, 0x96], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
    [0xC0, 0xAF], [0xF0, 0x9F, 0x97, 0xA3, 0xEF, 0xB8], [0x20, 0xFF, 0x20, 0x20, 0x68, 0x65], [0xE2, 0x96, 0x81, 0xE2],
]  # fmt: skip


def id_lists(rng, encoded, count, extra):
    """Lists of ids to decode: real ones, and random ones with many byte and added tokens."""
    lists = [[], *[ids for ids in encoded if len(ids) < 40][::3]]
    ids = list(range(min(count, 300))) * 2 + list(range(count)) + extra * 20
    lists += [[rng.choice(ids) for _ in range(rng.randint(1, 12))] for _ in range(60)]
    return lists


def write_case(out, name, model, folder=None, tokens=(), texts=None):
    """`folder(path)` writes the tokenizer's JSON files."""
    rng = random.Random(f"{SEED} {name}")
    path = out / name
    path.mkdir()
    (path / "tokenizer.model").write_bytes(model)
    texts = awkward(list(tokens)) + (texts or [])
    bare = spm.SentencePieceProcessor(model_proto=model)
    encode = [[text, bare.encode(text)] for text in texts] + [[b, bare.encode(bytes(b))] for b in BYTES]
    decode = [[ids, bare.decode(ids)] for ids in id_lists(rng, [e[1] for e in encode], len(bare), [])]
    cases = {
        "versions": {"sentencepiece": spm.__version__, "transformers": transformers.__version__},
        "bare": {"encode": encode, "decode": decode},
    }
    if folder is not None:
        folder(path)
        tokenizer = LlamaTokenizer.from_pretrained(path)
        encode = [[text, tokenizer(text).input_ids] for text in texts]
        added = [id for id in tokenizer.added_tokens_decoder]
        decode = [
            [ids, tokenizer.decode(ids, spaces_between_special_tokens=False)]
            for ids in id_lists(rng, [e[1] for e in encode], len(bare), added)
        ]
        skipped = [
            [ids, tokenizer.decode(ids, spaces_between_special_tokens=False, skip_special_tokens=True)]
            for ids, _ in decode[::4]
        ]
        cases["folder"] = {"encode": encode, "decode": decode, "decode_skip_special": skipped}
    (path / "cases.json").write_text(json.dumps(cases, ensure_ascii=False, separators=(",", ":")) + "\n")


def saved(add, **options):
    """A folder as transformers 4.34.1 saves it."""

    def write(path):
        tokenizer = LlamaTokenizer.from_pretrained(path, **options)
        add(tokenizer)
        tokenizer.save_pretrained(path)

    return write


def old_files(path):
    """The files of transformers before 4.34: no added_tokens_decoder."""
    bos = {"__type": "AddedToken", "content": "<s>", "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    config = {"tokenizer_class": "LlamaTokenizer", "bos_token": bos, "add_eos_token": True, "legacy": None, "pad_token": None}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    first = len(spm.SentencePieceProcessor(model_file=str(path / "tokenizer.model")))
    added = {token: first + i for i, token in enumerate(["[Human]", "<x1>", "<🎶3>", "[PAD]"])}
    (path / "added_tokens.json").write_text(json.dumps(added))
    special = {"bos_token": "<s>", "pad_token": "[PAD]", "additional_special_tokens": ["<x1>", "hello"]}
    (path / "special_tokens_map.json").write_text(json.dumps(special))


def write_goldens(out):
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    llama = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True}
    bpe = train("llama", model_type="bpe", vocab_size=520, split_digits=True, allow_whitespace_only_pieces=True, **llama)
    write_case(out, "anygpt", bpe, saved(lambda t: t.add_tokens(ANYGPT)), ANYGPT, every_block())

    flags = ["<l>", "<r>", "<w>", "<lrw>", "abcd", "b"]

    def add_flags(tokenizer):
        tokens = [AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True), AddedToken("<w>", single_word=True)]
        tokens += [AddedToken("<lrw>", lstrip=True, rstrip=True, single_word=True), "abcd", "b"]
        tokenizer.add_tokens(tokens)
        tokenizer.add_special_tokens({"additional_special_tokens": ["<l>"], "pad_token": "<pad>"})

    odd = ["abXcd", "abcabcd", "hello\u3000<l>\u2003x<r>\x1c\u00a0y", "w<w>w <w> w<w> <w>w", "a<lrw>b <lrw> c"]
    write_case(out, "flags", bpe, saved(add_flags), flags, odd)
    write_case(out, "not_legacy", bpe, saved(add_flags, legacy=False, add_eos_token=True), flags, odd)

    rules = out / "rules.tsv"
    rules.write_text("41\t61\n41 42\t78 79\n3000\t20\n9\t20\nA\t20\nFB01\t66 69\n1F5E3 FE0F\t2581\nDF\t\n")
    unigram = train(
        "unigram", model_type="unigram", vocab_size=330, normalization_rule_tsv=str(rules),
        user_defined_symbols=["<ud>", "<ud>x", "東京", "the"], control_symbols=["<ctl>"],
    )  # fmt: skip
    rules.unlink()
    unigram = edited(unigram, lambda proto: proto.normalizer_spec.ClearField("normalization_rule_tsv"))
    write_case(out, "unigram", unigram, old_files, ["[Human]", "<x1>", "<🎶3>", "[PAD]", "hello"], odd)

    def unused(proto):
        for i, piece in enumerate(proto.pieces):
            if piece.type == 1 and len(piece.piece) > 1 and i % 3 == 0:
                piece.type = 5
        proto.denormalizer_spec.CopyFrom(proto.normalizer_spec)
        proto.denormalizer_spec.precompiled_charsmap = pb.ModelProto.FromString(unigram).normalizer_spec.precompiled_charsmap
        proto.denormalizer_spec.add_dummy_prefix = False
        proto.denormalizer_spec.remove_extra_whitespaces = False
        proto.denormalizer_spec.escape_whitespaces = False

    plain = {"normalization_rule_name": "identity", "vocab_size": 400, "user_defined_symbols": ["<ud>", "the"]}
    suffix = train("suffix", model_type="bpe", treat_whitespace_as_suffix=True, **plain)
    write_case(out, "unused", edited(suffix, unused))
    write_case(out, "no_prefix", train("no_prefix", model_type="unigram", add_dummy_prefix=False, byte_fallback=True, unk_id=-1, bos_id=0, eos_id=1, **{**plain, "vocab_size": 500}))  # fmt: skip
    write_case(out, "word", train("word", model_type="word", unk_surface="??", **{**plain, "vocab_size": 60}))
    write_case(out, "char", train("char", model_type="char", pad_id=3, **plain))
    nfkc = train("nfkc", model_type="unigram", vocab_size=420, normalization_rule_name="nmt_nfkc_cf")
    write_case(out, "nmt_nfkc_cf", nfkc, None, (), every_block())


def write_fuzz_corpus(out, goldens):
    """Tiny models of each kind, small enough to be mutated well."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for kind in (1, 2, 3, 4):
        proto = pb.ModelProto()
        proto.trainer_spec.model_type = kind
        for text, score, type in [("<unk>", 0, 2), ("<s>", 0, 3), ("▁", -1, 1), ("a", -2, 1), ("b", -2.5, 1),
                                  ("ab", -0.5, 1), ("▁a", -3, 5), ("<u>", 0, 4)]:  # fmt: skip
            proto.pieces.add(piece=text, score=score, type=type)
        proto.normalizer_spec.add_dummy_prefix = True
        (out / f"kind{kind}.model").write_bytes(proto.SerializeToString())
    proto.trainer_spec.byte_fallback = True
    for byte in range(256):
        proto.pieces.add(piece=f"<0x{byte:02X}>", type=6)
    (out / "bytes.model").write_bytes(proto.SerializeToString())
    proto = pb.ModelProto.FromString((out / "kind1.model").read_bytes())
    rules = pb.ModelProto.FromString((goldens / "unigram" / "tokenizer.model").read_bytes())
    proto.normalizer_spec.precompiled_charsmap = rules.normalizer_spec.precompiled_charsmap
    proto.denormalizer_spec.precompiled_charsmap = rules.normalizer_spec.precompiled_charsmap
    (out / "charsmap.model").write_bytes(proto.SerializeToString())


if __name__ == "__main__":
    tests = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=tests / "goldens/sentencepiece")
    parser.add_argument("--fuzz", type=Path, default=tests / "fuzz/corpus/sentencepiece")
    arguments = parser.parse_args()
    write_goldens(arguments.out)
    write_fuzz_corpus(arguments.fuzz, arguments.out)
