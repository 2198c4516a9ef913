#!/usr/bin/env python3
"""Writes src/text/jinja/python_unicode_data.cc: what Python's str methods know of characters.

Chat templates are rendered by Python in the reference, so that `title`, `strip` or the quoting of a list follow its
tables (Python 3.11: Unicode 14), not those of the tokenizers.
Usage: python3.11 tools/python_unicode_tables.py > src/text/jinja/python_unicode_data.cc
"""

import sys
import unicodedata

FLAGS = ["isprintable", "isalpha", "isdecimal", "isdigit", "isnumeric", "isupper", "islower", "istitle"]
PER_LINE = 8


def codes():
    return (c for c in range(sys.maxunicode + 1) if not 0xD800 <= c <= 0xDFFF)


def flag_changes():
    """code << 8 | flags, at every code where the flags change."""
    out, last = [], None
    for c in codes():
        text = chr(c)
        flags = sum(getattr(text, name)() << bit for bit, name in enumerate(FLAGS))
        if flags & 0x60:  # an upper-case letter is `istitle` for str, only Lt is so for a character
            flags &= ~0x80
        if unicodedata.category(text) == "Lt":
            flags = (flags & ~0x60) | 0x80
        if flags != last:
            out.append(c << 8 | flags)
            last = flags
    return out


def ranges(mapping):
    """[first, last, step, delta] rows of a {code: code} mapping."""
    rows = []
    for c in sorted(mapping):
        delta = mapping[c] - c
        row = rows[-1] if rows else None
        if row and row[3] == delta:
            step = c - row[1]
            if (row[0] == row[1] and step <= 2) or step == row[2]:
                row[1], row[2] = c, step
                continue
        rows.append([c, c, 1, delta])
    return rows


def simple(method, base=None):
    out = {}
    for c in codes():
        new = getattr(chr(c), method)()
        old = getattr(chr(c), base)() if base else chr(c)
        if len(new) == 1 and new != old:
            out[c] = ord(new)
    return out


def special(method, base=None):
    out = {}
    for c in codes():
        new = getattr(chr(c), method)()
        if len(new) > 1 and (base is None or getattr(chr(c), base)() != new):
            out[c] = new
    return out


def table(kind, name, items):
    print(f"constexpr {kind} k{name}Rows[] = {{")
    for i in range(0, len(items), PER_LINE):
        print("    " + " ".join(items[i:i + PER_LINE]))
    print(f"}};\nconst std::span<const {kind}> k{name}(k{name}Rows);\n")


def main():
    print("// Characters as Python 3.11's str knows them (Unicode " + unicodedata.unidata_version + "), for")
    print("// text/jinja/python_unicode.cc. Written by tools/python_unicode_tables.py.")
    print("// clang-format off")
    print('#include "text/jinja/python_unicode.h"\n\nnamespace tessera::text::jinja {\n')
    changes = flag_changes()
    print("// code << 8 | flags, from this code on.")
    table("uint32_t", "CharacterFlags", [f"0x{x:X}," for x in changes])
    for name, method, base in (("Lower", "lower", None), ("Upper", "upper", None), ("Title", "title", "upper"),
                               ("Fold", "casefold", "lower")):
        rows = ranges(simple(method, base))
        table("CaseRange", name + "Ranges", [f"{{0x{a:X}, 0x{b:X}, {s}, {d}}}," for a, b, s, d in rows])
        rows = special(method, base)
        table("CaseString", name + "Strings", [
            f'{{0x{c:X}, "' + "".join(f"\\U{ord(x):08X}" if ord(x) > 127 else x for x in s) + '"},'
            for c, s in rows.items()])
    print("}  // namespace tessera::text::jinja")


if __name__ == "__main__":
    main()
