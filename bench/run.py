#!/usr/bin/env python3
"""Measures this machine and what tessera does on it, prints a table and writes one JSON file.

usage: bench/run.py [--out bench/results/NAME.json]

Every line is one command of tessera, repeated here so that it can be run alone. Times of start-up are medians.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TESSERA = os.path.join(ROOT, "build", "release", "tessera")
MINI = os.path.join("models", "tessera-mini")


def measure(arguments):
    """One bench command's JSON."""
    command = [TESSERA, "bench", *arguments, "--json"]
    print("tessera " + " ".join(command[1:]), file=sys.stderr)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return {"command": "tessera " + " ".join(command[1:]), **json.loads(done.stdout)}


def start_up(arguments, runs=21):
    """Median milliseconds from exec to exit."""
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        subprocess.run([TESSERA, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
        times.append(1e3 * (time.perf_counter() - begin))
    return {"command": "tessera " + " ".join(arguments), "median_ms": statistics.median(times)}


def processor():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", help="JSON file to write")
    options = parser.parse_args()
    codecs = sorted(name for name in os.listdir(os.path.join(ROOT, MINI)) if name.endswith("_codec"))
    results = [
        measure(["machine"]),
        start_up(["--help"]),
        start_up(["inspect", MINI]),
        measure(["generate", MINI, "--prompt", "128", "--gen", "128"]),
        measure(["generate", MINI, "--prompt", "128", "--gen", "128", "--batch", "16"]),
        measure(["generate", "--random", "1.1b", "--dtype", "bf16", "--prompt", "512", "--gen", "64"]),
    ]
    results += [measure(["codec", os.path.join(MINI, name)]) for name in codecs]
    for result in results:
        print(result.pop("command"))
        for key, value in result.items():
            print(f"    {key:<20} {value:.4g}" if isinstance(value, float) else f"    {key:<20} {value}")
    if options.out:
        report = {"processor": processor(), "kernel": platform.release(), "results": results}
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
