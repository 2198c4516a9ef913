#!/usr/bin/env python3
"""Writes src/text/unicode_data.cc: the character classes that `tokenizers` uses.

Every class is asked from the installed `tokenizers` package one code point at a time, because its
parts carry tables of different Unicode versions (Rust's standard library, two older crates and
Oniguruma). The differences to the linked PCRE2 and utf8proc are found through ctypes.

Usage: python tools/unicode_tables.py > src/text/unicode_data.cc
"""
import ctypes
import ctypes.util
import struct
import sys

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CHUNK = 1 << 15
CATEGORIES = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf").split()


def chunks():
    for start in range(0, len(CODE_POINTS), CHUNK):
        yield CODE_POINTS[start:start + CHUNK]


def ranges(points):
    out = []
    for c in sorted(points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def kept_by(pre_tokenizer):
    kept = set()
    for points in chunks():
        for piece, _ in pre_tokenizer.pre_tokenize_str("".join(map(chr, points))):
            kept.update(map(ord, piece))
    return kept


def oniguruma(pattern):
    return kept_by(pre_tokenizers.Split(Regex(pattern + "+"), "removed", invert=True))


def pcre2(pattern):
    lib = ctypes.CDLL(ctypes.util.find_library("pcre2-8"))
    lib.pcre2_compile_8.restype = ctypes.c_void_p
    lib.pcre2_match_data_create_8.restype = ctypes.c_void_p
    lib.pcre2_get_ovector_pointer_8.restype = ctypes.POINTER(ctypes.c_size_t)
    lib.pcre2_get_ovector_pointer_8.argtypes = [ctypes.c_void_p]
    utf, ucp, no_check = 0x00080000, 0x00020000, 0x40000000
    error, offset = ctypes.c_int(), ctypes.c_size_t()
    text = (pattern + "+").encode()
    code = ctypes.c_void_p(lib.pcre2_compile_8(text, ctypes.c_size_t(len(text)), utf | ucp,
                                               ctypes.byref(error), ctypes.byref(offset), None))
    data = ctypes.c_void_p(lib.pcre2_match_data_create_8(1, None))
    subject = "".join(map(chr, CODE_POINTS)).encode()
    found, position = set(), 0
    while lib.pcre2_match_8(code, subject, ctypes.c_size_t(len(subject)), ctypes.c_size_t(position),
                            no_check, data, None) >= 0:
        ovector = lib.pcre2_get_ovector_pointer_8(data)
        found.update(map(ord, subject[ovector[0]:ovector[1]].decode()))
        position = ovector[1]
    return found


def word_characters():
    words = set()
    for points in chunks():
        text = " ".join("a" + chr(c) for c in points)
        for piece, _ in pre_tokenizers.Whitespace().pre_tokenize_str(text):
            if len(piece) == 2 and piece[0] == "a":
                words.add(ord(piece[1]))
    return words


def numeric_characters():
    numeric = set()
    for points in chunks():
        text = "".join("a" + chr(c) for c in points)
        for piece, _ in pre_tokenizers.Digits(individual_digits=True).pre_tokenize_str(text):
            if len(piece) == 1 and piece != "a":
                numeric.add(ord(piece))
    return numeric


class Utf8proc:
    def __init__(self):
        self.lib = ctypes.CDLL(ctypes.util.find_library("utf8proc"))
        self.lib.utf8proc_map.restype = ctypes.c_ssize_t
        self.lib.utf8proc_tolower.restype = ctypes.c_int32
        self.lib.utf8proc_get_property.restype = ctypes.POINTER(ctypes.c_int16)

    def lower(self, c):
        return self.lib.utf8proc_tolower(ctypes.c_int32(c))

    def combining_class(self, c):
        return self.lib.utf8proc_get_property(ctypes.c_int32(c))[1]  # second 16-bit field

    def normalize(self, c, options):
        out, data = ctypes.c_void_p(), chr(c).encode()
        size = self.lib.utf8proc_map(data, ctypes.c_ssize_t(len(data)), ctypes.byref(out), options)
        return ctypes.string_at(out, size).decode() if size >= 0 else None


def inert(utf8proc):
    """Code points that the reference's older normalization tables leave alone."""
    stable, compat, compose, decompose = 2, 4, 8, 16
    forms = [(normalizers.NFD(), decompose), (normalizers.NFKD(), decompose | compat),
             (normalizers.NFC(), compose), (normalizers.NFKC(), compose | compat)]
    nfd, points = normalizers.NFD(), set()
    for c in CODE_POINTS[1:]:
        text = chr(c)
        ours = [utf8proc.normalize(c, options | stable) for _, options in forms]
        if any(form.normalize_str(text) != o for (form, _), o in zip(forms, ours)):
            points.add(c)
        klass = utf8proc.combining_class(c)
        if klass and ours[0] == text:
            pair = text + "\u0334" if klass > 1 else "\u0345" + text
            if nfd.normalize_str(pair) == pair:
                points.add(c)
    return points


# One well-known character of each category and UTF-8 length, to stand for a newer one.
SUBSTITUTES = {
    ("Lu", 3): 0x1E00, ("Lu", 4): 0x10400, ("Ll", 3): 0x1E01, ("Ll", 4): 0x10428,
    ("Lm", 3): 0x1D2C, ("Lm", 4): 0x16B40, ("Lo", 3): 0x0E01, ("Lo", 4): 0x10000,
    ("Mn", 3): 0x0941, ("Mn", 4): 0x101FD, ("Mc", 3): 0x0903, ("Mc", 4): 0x11000,
    ("Nd", 3): 0x0966, ("Nd", 4): 0x104A0, ("No", 3): 0x2460, ("No", 4): 0x10107,
    ("Pd", 4): 0x10EAD, ("Po", 3): 0x2020, ("Po", 4): 0x10100, ("Sm", 4): 0x1D6C1,
    ("Sc", 3): 0x20AC, ("So", 3): 0x2300, ("So", 4): 0x1D100, ("Cf", 4): 0xE0001,
}


def substitutes():
    mapping = {}
    han = oniguruma("\\p{Han}")
    for category in CATEGORIES:
        pattern = "\\p{%s}" % category
        for c in oniguruma(pattern) - pcre2(pattern):
            new = SUBSTITUTES.get((category, len(chr(c).encode())))
            if c in han and category == "Lo":
                new = 0x20000
            if new is None:
                sys.exit(f"no substitute for {category} U+{c:04X}")
            mapping[c] = new
    mapping[0x180E] = 0x200B  # white space for PCRE2 alone
    mapping[0x1C89], mapping[0x1C8A] = 0xA640, 0xA641  # Cyrillic
    return mapping


def every_byte_map():
    """A character map for Precompiled: a Darts array with the rule "x" for every first byte but NUL."""
    units = [0] * 512
    units[0] = 256 << 10
    units[1] = 1 << 31  # the value of all rules: the string at 0
    for byte in range(1, 256):
        position = 256 ^ byte
        units[position] = ((position ^ 1) << 10) | (1 << 8) | byte
    trie = struct.pack("<512I", *units)
    return struct.pack("<I", len(trie)) + trie + b"x\0"


def grapheme_classes():
    """What Precompiled tells of grapheme clusters: it makes one "x" of a cluster below 6 bytes, and one of each
    character of a longer one. Classes: GraphemeClass in src/text/unicode_data.h. Pairs of flags never decide
    whether there is a cluster below 6 bytes: they stay out."""
    normalize = normalizers.Precompiled(every_byte_map()).normalize_str
    acute, classes = "\u0301", {}

    def count(text):
        return len(normalize(text))

    for c in CODE_POINTS:
        char = chr(c)
        if 0xAC00 <= c <= 0xD7A3:  # Hangul syllables: by formula
            continue
        if count("A" + char) == 1:
            pictographic = count("\u00a9" + char + "\u200d\u00a9" + acute) == 5
            conjunct = count("\u0915\u094d" + char + "\u0915" + acute) == 5
            linker = count("\u0915" + char + "\u0915" + acute) == 4
            classes[c] = (7 if linker else 2 if pictographic and conjunct else 3 if pictographic else
                          4 if conjunct else 5)
        elif count(char + "A") == 1:
            classes[c] = 6
        elif count(char + acute + acute) == 2:
            classes[c] = 1
        elif count(char + "\u094d\u0915" + acute) == 4:
            classes[c] = 8
        elif count(char + "\u200d\u00a9" + acute) == 4:
            classes[c] = 9
        else:
            before = [count(char + next_one + acute) == 3 for next_one in "\u1100\u1161\u11a8"]
            if any(before):
                classes[c] = 10 if before[0] else 11 if before[1] else 12
    return classes


def runs(mapping, step):
    """[first, last, value]: neighbours with one value (step 0) or one difference (step 1)."""
    out = []
    for c in sorted(mapping):
        value = mapping[c]
        if out and out[-1][1] == c - 1 and out[-1][2] + step * (c - out[-1][0]) == value:
            out[-1][1] = c
        else:
            out.append([c, c, value])
    return out


def emit(kind, name, comment, rows):
    print(f"\n// {comment}\nconst std::array<{kind}, {len(rows)}> {name} = {{{{")
    cells = ["{" + ", ".join(f"0x{v:X}" for v in row) + "}," for row in rows]
    for start in range(0, len(cells), 4):
        print("    " + " ".join(cells[start:start + 4]))
    print("}};")


def main():
    utf8proc = Utf8proc()
    bert = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    marks = normalizers.BertNormalizer(**{**bert, "strip_accents": True})
    clean = normalizers.BertNormalizer(**{**bert, "clean_text": True})
    lower = {c: normalizers.Lowercase().normalize_str(chr(c)) for c in CODE_POINTS}
    lower = {c: ord(t) for c, t in lower.items() if len(t) == 1 and ord(t) != utf8proc.lower(c)}

    def removed(normalizer):
        return [c for c in CODE_POINTS if not normalizer.normalize_str(chr(c))]

    print(f"""// Character classes as the `tokenizers` package has them, for text/unicode.cc. Written by
// tools/unicode_tables.py with tokenizers {tokenizers.__version__}; each class comes from another Unicode version, as
// there. Ranges are inclusive and sorted.
// clang-format off
#include "text/unicode_data.h"

namespace tessera::text {{""")
    emit("CodeRange", "kPunctuation", "Punctuation and BertPreTokenizer.",
         ranges(set(CODE_POINTS) - kept_by(pre_tokenizers.Punctuation("removed"))))
    emit("CodeRange", "kNumeric", "Digits.", ranges(numeric_characters()))
    emit("CodeRange", "kWord", r"\w of added tokens' single_word and of Whitespace.",
         ranges(word_characters()))
    emit("CodeRange", "kCombiningMark", "StripAccents.",
         ranges(removed(normalizers.StripAccents())))
    emit("CodeRange", "kNonspacingMark", "BertNormalizer's strip_accents.", ranges(removed(marks)))
    emit("CodeRange", "kControl", "BertNormalizer's clean_text.",
         ranges(removed(clean)))
    emit("CodeRange", "kNormalizationInert",
         "Newer than the reference's normalization: neither decomposed nor reordered.",
         ranges(inert(utf8proc)))
    emit("CodeMap", "kLowercase", "Lower case that utf8proc does not know: first, last, its lower case.",
         runs(lower, 1))
    emit("CodeMap", "kRegexSubstitute",
         "Unknown to PCRE2: first, last, a character of that category and UTF-8 length.",
         runs(substitutes(), 0))
    emit("CodeMap", "kGrapheme", "Clusters of Precompiled: first, last, GraphemeClass.",
         runs(grapheme_classes(), 0))
    print("\n}  // namespace tessera::text")


if __name__ == "__main__":
    main()
