#!/usr/bin/env python3
"""Goldens for constrained decoding: what Python's `jsonschema` and `re` say about random cases.

    python tests/parity/constrain.py [tests/goldens/constrain] [--seed 1]

Writes schemas.json (schemas, valid and invalid texts) and patterns.json. Members of the instances
come in the order in which their schema names them, and integers are written without a point: the
grammars know no other spelling. Needs the packages of tests/parity/requirements.txt.
"""
import argparse
import json
import pathlib
import random
import re

import jsonschema

NAMES = ["a", "b", "name", "id", "x-y", "größe", "quote\"d", "tab\t", "n1", "list"]
CHARS = list("abcXYZ019 _-./\"\\") + ["\n", "\t", "é", "漢", "😀", "\x1f", "\x7f"]
PATTERNS = ["^[a-z]+$", "\\d{2,4}", "^x-", "(foo|bar)$", "^\\w+\\s\\w+$", "[^0-9]", "^.{3}$", "^(?:ab)*c?$",
            "\\.json$", "^[\\u00e0-\\u00ff]+$", "a|^b$", "\\\\", "\"", "^$", "^[A-Z][a-z]*(-[A-Z][a-z]*)*$"]
FORMATS = ["date", "time", "date-time", "uuid", "email", "ipv4", "ipv6"]
SAMPLES = {
    "date": ["2024-02-29", "2023-02-29", "1999-12-31", "2024-13-01", "2024-04-31", "24-01-01"],
    "time": ["12:34:56Z", "23:59:59.123+01:00", "24:00:00Z", "12:34Z", "00:00:00-23:59"],
    "date-time": ["2024-02-29T12:00:00Z", "2024-02-29 12:00:00Z", "2000-01-01T00:00:00.5+09:30", "2000-01-01"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000", "not"],
    "email": ["a@b.de", "first.last+tag@sub.example.org", "nobody", ""],
    "ipv4": ["0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3", "01.2.3.4"],
    "ipv6": ["::", "::1", "1:2:3:4:5:6:7:8", "1::8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8:9",
             "1::2::3", "fe80::abcd", "12345::", "1:2:3:4:5:6:7", "1:2::4:5:6:7:8"],
}


def text(rng, most=8):
    return "".join(rng.choice(CHARS) for _ in range(rng.randrange(most)))


def number(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return rng.randrange(-20, 21)
    if kind == 1:
        return rng.randrange(-10000, 10001)
    value = round(rng.uniform(-30, 30), rng.randrange(1, 4))
    return value if value != int(value) else int(value)


def anything(rng, depth=0):
    kind = rng.randrange(7 if depth < 2 else 5)
    if kind == 0:
        return None
    if kind == 1:
        return rng.random() < 0.5
    if kind == 2:
        return text(rng)
    if kind in (3, 4):
        return number(rng)
    if kind == 5:
        return [anything(rng, depth + 1) for _ in range(rng.randrange(3))]
    return {rng.choice(NAMES): anything(rng, depth + 1) for _ in range(rng.randrange(3))}


def string_schema(rng):
    schema = {"type": "string"}
    kind = rng.randrange(5)
    if kind == 1:
        schema["minLength"] = rng.randrange(4)
        schema["maxLength"] = schema["minLength"] + rng.randrange(6)
    elif kind == 2:
        schema["pattern"] = rng.choice(PATTERNS)
        if rng.random() < 0.4:
            schema["maxLength"] = rng.randrange(2, 8)
    elif kind == 3:
        schema["format"] = rng.choice(FORMATS)
    elif kind == 4:
        schema = {"type": "string", "maxLength": rng.choice([500, 1000])}
    return schema


def number_schema(rng):
    schema = {"type": rng.choice(["integer", "number"])}
    if rng.random() < 0.7:
        schema[rng.choice(["minimum", "exclusiveMinimum"])] = number(rng)
    if rng.random() < 0.7:
        schema[rng.choice(["maximum", "exclusiveMaximum"])] = number(rng)
    return schema


def array_schema(rng, depth):
    schema = {"type": "array"}
    if rng.random() < 0.8:
        schema["items"] = any_schema(rng, depth + 1) if rng.random() < 0.85 else False
    if rng.random() < 0.3:
        schema["prefixItems"] = [any_schema(rng, depth + 1) for _ in range(rng.randrange(1, 3))]
    if rng.random() < 0.4:
        schema["minItems"] = rng.randrange(3)
    if rng.random() < 0.4:
        schema["maxItems"] = rng.randrange(1, 5)
    return schema


def object_schema(rng, depth):
    names = rng.sample(NAMES, rng.randrange(5))
    schema = {"type": "object", "properties": {name: any_schema(rng, depth + 1) for name in names}}
    schema["required"] = [name for name in names if rng.random() < 0.5]
    kind = rng.randrange(4)
    if kind < 2:
        schema["additionalProperties"] = False
    elif kind == 2:
        schema["additionalProperties"] = any_schema(rng, depth + 1)
    if rng.random() < 0.2:
        schema["patternProperties"] = {rng.choice(["^x-", "^n", "e$"]): any_schema(rng, depth + 1)}
    if rng.random() < 0.15:
        schema["minProperties"] = rng.randrange(3)
    if rng.random() < 0.15:
        schema["maxProperties"] = rng.randrange(1, 4)
    if not schema["required"]:
        del schema["required"]
    return schema


def any_schema(rng, depth=0):
    kind = rng.randrange(12 if depth < 3 else 7)
    if kind < 2:
        return string_schema(rng)
    if kind < 4:
        return number_schema(rng)
    if kind == 4:
        return rng.choice([{"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]}, {}, True])
    if kind == 5:
        return {"enum": [anything(rng) for _ in range(rng.randrange(1, 5))]}
    if kind == 6:
        return {"const": anything(rng)}
    if kind < 9:
        return object_schema(rng, depth)
    if kind == 9:
        return array_schema(rng, depth)
    if kind == 10:
        return {"anyOf": [any_schema(rng, depth + 1) for _ in range(rng.randrange(1, 4))]}
    parts = [object_schema(rng, depth + 1), object_schema(rng, depth + 1)]
    for part in parts:
        part.pop("additionalProperties", None)
    return {"allOf": parts} if rng.random() < 0.5 else {"allOf": [number_schema(rng), {"type": ["integer", "null"]}]}


def example(rng, schema, depth=0):
    """A value that often fits."""
    if schema is True or schema is False or not schema or rng.random() < 0.04 or depth > 6:
        return anything(rng)
    if "$ref" in schema:
        return example(rng, TREE, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if "anyOf" in schema:
        return example(rng, rng.choice(schema["anyOf"]), depth + 1)
    if "allOf" in schema:
        parts = [example(rng, part, depth + 1) for part in schema["allOf"]]
        if all(isinstance(part, dict) for part in parts):
            merged = {}
            for part, own in zip(parts, schema["allOf"]):
                merged.update({k: v for k, v in part.items() if k not in merged})
            order = [name for own in schema["allOf"] for name in own.get("properties", {})]
            return {k: merged[k] for k in sorted(merged, key=lambda k: order.index(k) if k in order else len(order))}
        return rng.choice(parts)
    kind = schema.get("type")
    kind = rng.choice(kind) if isinstance(kind, list) else kind
    if kind == "string":
        if "format" in schema:
            return rng.choice(SAMPLES[schema["format"]])
        if "pattern" in schema:
            return rng.choice(["abc", "foo", "x-1", "12", "a b", "é", "Ab-Cd", "ababc", "q.json", "", "a\\b", 'q"', "bar"])
        return text(rng, 12)
    if kind in ("integer", "number"):
        bounds = [v for k, v in schema.items() if k != "type"]
        if bounds and rng.random() < 0.7:
            value = rng.choice(bounds) + rng.choice([-1, -0.5, -0.1, -0.001, 0, 0.001, 0.1, 0.5, 1, 10, 100])
            value = round(value, 6)
            return int(value) if value == int(value) else value
        return number(rng)
    if kind == "array":
        items = schema.get("items", True)
        prefix = schema.get("prefixItems", [])
        count = rng.randrange(5)
        return [example(rng, prefix[i] if i < len(prefix) else items, depth + 1) for i in range(count)]
    if kind == "object":
        out = {}
        for name, own in schema.get("properties", {}).items():
            if name in schema.get("required", []) or rng.random() < 0.6:
                out[name] = example(rng, own, depth + 1)
        for name in rng.sample(NAMES + ["x-1", "none"], rng.randrange(2)):
            if name not in schema.get("properties", {}):
                out[name] = example(rng, schema.get("additionalProperties", True), depth + 1)
        if out and rng.random() < 0.1:
            out.pop(rng.choice(list(out)))
        return out
    return {"boolean": True, "null": None}.get(kind, anything(rng))


TREE = {"type": "object", "properties": {"v": {"type": "integer", "minimum": 0}, "kids": {
    "type": "array", "items": {"$ref": "#"}}}, "required": ["v"], "additionalProperties": False}


def case_of(rng, schema):
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    case = {"schema": schema, "valid": [], "invalid": []}
    for _ in range(14):
        value = example(rng, schema)
        out = case["valid" if validator.is_valid(value) else "invalid"]
        indent = rng.choice([None, None, 2])
        spelled = json.dumps(value, ensure_ascii=False, indent=indent)
        if indent is None and rng.random() < 0.5:
            spelled = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if spelled not in out:
            out.append(spelled)
    return case


def patterns(rng):
    pool = ["a", "b", "[ab]", "[^a]", ".", "\\d", "\\w", "\\s", "(?:ab|c)", "(a|b)", "é", "[à-ÿ]", "x{2}", "a{1,3}",
            "b{0,2}?", "(?:a{2}){2}", "c*", "d+", "e?", "\\.", "\\x41", "[\\d_-]", "[\\]\\\\]", "(?P<n>z)", "\\\\", "\\W"]
    chars = list("abcdexz_01 .-]\\A") + ["é", "ñ", "\n", "漢"]
    cases = []
    for _ in range(150):
        pattern = "".join(rng.choice(pool) for _ in range(rng.randrange(1, 5)))
        if rng.random() < 0.3:
            pattern += "|" + rng.choice(pool)
        if pattern.count("P<n>") > 1:
            continue  # a name can be given once
        compiled = re.compile(pattern, re.ASCII)
        words = {"".join(rng.choice(chars) for _ in range(rng.randrange(6))) for _ in range(400)}
        good = sorted(w for w in words if compiled.fullmatch(w))
        bad = sorted(w for w in words if not compiled.fullmatch(w))
        cases.append({"pattern": pattern, "valid": good[:12], "invalid": rng.sample(bad, min(12, len(bad)))})
    return cases


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, nargs="?", default=pathlib.Path(__file__).parents[1] / "goldens" / "constrain")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schemas", type=int, default=150)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    cases = [case_of(rng, TREE)]
    while len(cases) < args.schemas:
        case = case_of(rng, any_schema(rng))
        if case["valid"]:
            cases.append(case)
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / "schemas.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1))
    (args.folder / "patterns.json").write_text(json.dumps(patterns(rng), ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
