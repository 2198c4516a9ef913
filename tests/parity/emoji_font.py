"""Writes tests/goldens/world/emoji_font.json: size and CRC-32 of every PNG strike that the world uses, read by
fontTools from Debian's NotoColorEmoji.ttf, and the CLDR short name that the emoji package gives each code point."""
import hashlib
import importlib.metadata
import json
import pathlib
import re
import zlib

import emoji
from fontTools.ttLib import TTFont

root = pathlib.Path(__file__).resolve().parents[2]
path = pathlib.Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
font = TTFont(path)
cmap = font.getBestCmap()
strike = font["CBDT"].strikeData[0]
table = (root / "src/train/world/vocabulary.cc").read_text()
rows = []
for noun, code in re.findall(r"\{\"([^\"]+)\",\s*\"[^\"]+\",\s*U'\\U([0-9A-F]{8})'", table):
    point = int(code, 16)
    png = strike[cmap[point]].imageData
    name = emoji.demojize(chr(point)).strip(":").replace("_", " ")
    rows.append([noun, point, name, len(png), zlib.crc32(png)])
golden = {
    "font_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    "fonttools": importlib.metadata.version("fonttools"),
    "emoji": importlib.metadata.version("emoji"),
    "pngs": rows,
}
out = root / "tests/goldens/world/emoji_font.json"
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps(golden).replace("], [", "],\n["))
