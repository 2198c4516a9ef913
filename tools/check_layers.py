#!/usr/bin/env python3
"""Checks that the rooms of src/ include each other in one direction only, and that no file is too long.

core <- io <- text; {io, text} <- ops <- nn <- models <- pipelines <- compress <- {train, serve} <- cli (the trainer saves
quantised models).
Models never include each other: what two share moves down to nn. Files directly in src/models are shared.
"""

import pathlib
import re
import subprocess
import sys

ORDER = [["core"], ["io"], ["text"], ["ops"], ["nn"], ["models"], ["pipelines"], ["compress"], ["train", "serve"], ["cli"]]
ALLOWED = {room: {room}.union(*ORDER[:level]) for level, rooms in enumerate(ORDER) for room in rooms}
MAX_LINES = 800
SOURCES = {".h", ".cc", ".cu", ".cuh", ".py", ".sh"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def model_of(path):
    """The model that a file of src/models belongs to; None for what all models share."""
    parts = path.split("/")[1:]  # without "models"
    if len(parts) == 1:
        return None
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0] + "/" + pathlib.PurePath(parts[1]).stem


def check_include(file, include, root):
    """A complaint about one include of a file (both below src/), or None."""
    room, other = file.split("/")[0], include.split("/")[0]
    if other == "tessera" or not (root / "src" / include).exists():
        sibling = root / "src" / pathlib.PurePath(file).parent / include
        return f'write "{sibling.resolve().relative_to(root / "src")}", from src/' if sibling.exists() else None
    if room not in ALLOWED:
        return f"unknown room '{room}'; rooms are {', '.join(ALLOWED)}"
    if other not in ALLOWED[room]:
        return f"{room} may not include {other} (it may: {', '.join(r for r in ALLOWED if r in ALLOWED[room])})"
    if room == other == "models":
        mine, its = model_of(file), model_of(include)
        if mine and its and mine != its:
            return "models never include each other; move what they share to src/nn"
    return None


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, text=True,
                            capture_output=True, check=True).stdout.split("\n")
    files = sorted({name for name in listed if pathlib.PurePath(name).suffix in SOURCES and (root / name).is_file()})
    complaints = []
    for name in files:
        lines = (root / name).read_text(encoding="utf-8", errors="replace").splitlines()
        if len(lines) > MAX_LINES:
            complaints.append(f"{name}: {len(lines)} lines, at most {MAX_LINES}; split it")
        if not name.startswith("src/"):
            continue
        for number, line in enumerate(lines, 1):
            found = INCLUDE.match(line)
            problem = found and check_include(name.removeprefix("src/"), found[1], root)
            if problem:
                complaints.append(f'{name}:{number}: #include "{found[1]}": {problem}')
    if complaints:
        sys.exit("\n".join([*complaints, f"layers: {len(complaints)} complaints"]))
    print(f"layers: {len(files)} files are in order")


if __name__ == "__main__":
    main()
