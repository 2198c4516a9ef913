#!/usr/bin/env python3
"""Fetches the wheels of tools/wheels.txt and unpacks libtorch's headers and libraries into the cache.

usage: libtorch.py CACHE_FOLDER cpu [gpu]

pip only tells where a wheel is (so its index, proxy and certificate settings hold); nothing is installed into Python.
A download goes on where an earlier one stopped. The stamp file is written last: an interrupted unpack is done again.
Standard library only; works with Debian 12's Python 3.11 and pip 23.0.
"""

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections import namedtuple
from pathlib import Path

VERSION = "2.11.0"
TORCH_LIBRARIES = {
    "cpu": r"libtorch_cpu\.so|libc10\.so|libtorch\.so|libgomp[^/]*\.so\.1",
    "gpu": r"libtorch_cuda\.so|libc10_cuda\.so|libtorch_cuda_linalg\.so|libtorch_nvshmem\.so|libcaffe2_nvrtc\.so",
}
NVIDIA_LIBRARIES = {  # the CPU library is linked to these two even where there is no GPU
    "cpu": r"libcudart\.so\.13|libcupti\.so\.13",
    "gpu": r"[^/]*\.so(\.[0-9]+)*",
}
UNPACKED_MB = {"cpu": 540, "gpu": 3200}

Wheel = namedtuple("Wheel", "package version size sha256")


class SetupError(Exception):
    """One line for the user: what went wrong and what to do next."""


def say(text, end="\n"):
    print(text, end=end, file=sys.stderr, flush=True)


def read_wheels(group):
    lines = (Path(__file__).parent / "wheels.txt").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [Wheel(r[1], r[2], int(r[3]), r[4]) for r in rows if r[0] == group]


# ---- pip: where the wheels are, and how the network is reached ----

def pip(*arguments):
    env = dict(os.environ, PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0", PIP_DISABLE_PIP_VERSION_CHECK="1")
    return subprocess.run([sys.executable, "-m", "pip", *arguments], env=env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)


def wheel_options():
    return ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11", "--retries", "2"]


def explain_pip(stderr, wheels):
    if re.search(r"CERTIFICATE_VERIFY|SSLError", stderr):
        return ("the package index's certificate is not trusted; if your network has its own, name its file in "
                "PIP_CERT (or in pip's configuration) and run again")
    if re.search(r"Connection|NameResolution|ConnectTimeout|ReadTimeout|ProxyError|Max retries", stderr):
        return ("the package index cannot be reached: check the network (and https_proxy, or PIP_INDEX_URL for a "
                "mirror), then run the same command again; what was fetched is kept")
    if "No module named pip" in stderr:
        return "python3 has no pip; install Debian's package python3-pip"
    names = ", ".join(f"{w.package} {w.version}" for w in wheels)
    last = [line for line in stderr.splitlines() if line.strip()][-1:]
    return f"pip does not find {names}: {''.join(last)} (does your package index carry them?)"


def locate(wheels):
    """Addresses of the wheels, in their order."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        done = pip("install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report),
                   "--target", str(Path(scratch) / "none"), *wheel_options(),
                   *[f"{w.package}=={w.version}" for w in wheels])
        if done.returncode != 0 or not report.exists():
            raise SetupError(explain_pip(done.stderr, wheels))
        items = json.loads(report.read_text())["install"]
    found = {re.sub(r"[-_.]+", "-", i["metadata"]["name"]).lower(): i["download_info"] for i in items}
    for w in wheels:
        served = found[w.package]["archive_info"].get("hash", "").removeprefix("sha256=")
        if served and served != w.sha256:
            raise SetupError(f"the package index serves another file for {w.package} {w.version} (sha256 {served}, "
                             f"expected {w.sha256}); use an index with the original wheels")
    return [found[w.package]["url"] for w in wheels]


def make_opener():
    """urllib with pip's proxy and certificate settings, else those of the environment."""
    settings = {}
    for line in pip("config", "list").stdout.splitlines():
        match = re.match(r"(?:global|install|:env:)\.(cert|proxy)='(.*)'$", line)
        if match:
            settings[match[1]] = match[2]
    certificates = settings.get("cert") or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    handlers = []
    if certificates and os.path.isfile(certificates):
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificates)))
    if settings.get("proxy"):
        handlers.append(urllib.request.ProxyHandler({"http": settings["proxy"], "https": settings["proxy"]}))
    return urllib.request.build_opener(*handlers)


# ---- progress ----

class Progress:
    """One line with share, rate and time left; plain lines every 10 s when stderr is not a terminal."""

    def __init__(self, total, have):
        self.total, self.done, self.start_done = total, have, have
        self.start = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()

    def add(self, count):
        self.done += count
        now = time.monotonic()
        if now - self.shown >= (0.2 if self.terminal else 10):
            self.shown = now
            self.show(now)

    def show(self, now):
        rate = (self.done - self.start_done) / max(now - self.start, 1e-3)
        left = max(self.total - self.done, 0) / max(rate, 1)
        text = (f"libtorch {VERSION}: {100 * self.done // self.total:3d} %  {self.done / 1e6:.0f} of "
                f"{self.total / 1e6:.0f} MB  {rate / 1e6:.1f} MB/s  {int(left) // 60}:{int(left) % 60:02d} left")
        say(f"\r{text}\033[K" if self.terminal else text, end="" if self.terminal else "\n")

    def close(self):
        if self.terminal:
            say("\r\033[K", end="")


# ---- download ----

def fetch(opener, url, part, wheel, progress):
    """Appends what is missing to `part`. Network trouble raises OSError or HTTPException."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "tessera-setup"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with opener.open(request, timeout=60) as reply:
        if have and reply.status != 206:  # the server starts from the beginning again
            progress.add(-have)
            have = 0
        with open(part, "ab" if have else "wb") as out:
            while have < wheel.size:
                block = reply.read(min(1 << 20, wheel.size - have))
                if not block:
                    raise http.client.IncompleteRead(b"")
                out.write(block)
                have += len(block)
                progress.add(len(block))


def fetch_with_pip(wheel, part):
    """For an index that wants credentials, which pip knows and does not tell."""
    with tempfile.TemporaryDirectory(dir=part.parent) as scratch:
        done = pip("download", "--quiet", "--dest", scratch, *wheel_options(), f"{wheel.package}=={wheel.version}")
        files = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or len(files) != 1:
            raise SetupError(explain_pip(done.stderr, [wheel]))
        os.replace(files[0], part)


def sha256_of(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def download(opener, url, part, wheel, progress):
    failures = 0
    while not part.exists() or part.stat().st_size < wheel.size:
        before = part.stat().st_size if part.exists() else 0
        try:
            fetch(opener, url, part, wheel, progress)
        except urllib.error.HTTPError as error:
            if error.code not in (401, 403, 407):
                raise SetupError(f"the package index answered {error.code} {error.reason} for {wheel.package} "
                                 f"{wheel.version}; run again later, or choose a mirror with PIP_INDEX_URL") from error
            fetch_with_pip(wheel, part)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno == 28:
                raise SetupError(f"the disk of {part.parent} is full; free some space or set TESSERA_CACHE to a "
                                 f"folder on another disk, then run again") from error
            failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
            if failures >= 5:
                raise SetupError(f"the network fails ({error}); run the same command again when it is back, "
                                 "what was fetched is kept") from error
            time.sleep(min(2 ** failures, 10))
    if sha256_of(part) != wheel.sha256:
        part.unlink()
        raise SetupError(f"{wheel.package} {wheel.version} arrived damaged (wrong sha256) and was deleted; run again")


# ---- unpack ----

def destination(name, group, package):
    """Where a wheel's member goes below the libtorch folder; None when it is not needed."""
    if package != "torch":
        match = re.fullmatch(r"nvidia/.*/lib/(" + NVIDIA_LIBRARIES[group] + ")", name)
        return match and f"lib/{match[1]}"
    match = re.fullmatch(r"torch/lib/(" + TORCH_LIBRARIES[group] + ")", name)
    if match:
        return f"lib/{match[1]}"
    if group == "cpu" and name.startswith("torch/include/") and not name.endswith("/") and ".." not in name:
        return name.removeprefix("torch/")
    return None


def unpack(part, group, package, root):
    count = 0
    with zipfile.ZipFile(part) as archive:
        for member in archive.infolist():
            relative = destination(member.filename, group, package)
            if not relative:
                continue
            target = root / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(target.name + ".part")
            with archive.open(member) as source, open(temporary, "wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            os.replace(temporary, target)
            count += 1
    if not count:
        raise SetupError(f"the wheel of {package} holds none of the expected files; please report this")


def need_space(folder, megabytes):
    free = shutil.disk_usage(folder).free / 1e6
    if free < megabytes:
        raise SetupError(f"{folder} has {free:.0f} MB free, libtorch needs {megabytes:.0f} MB while it is unpacked; "
                         f"free some space or set TESSERA_CACHE to a folder on another disk")


def stamp_of(root, group):
    return root / (".complete" if group == "cpu" else f".complete-{group}")


def write_stamp(root, group):
    stamp = stamp_of(root, group)
    temporary = stamp.with_name(stamp.name + ".part")
    temporary.write_text("".join(f"{w.package} {w.version} {w.sha256}\n" for w in read_wheels(group)))
    os.replace(temporary, stamp)


def install(groups, cache):
    root = cache / f"libtorch-{VERSION}"
    groups = [g for g in groups if not stamp_of(root, g).exists()]  # another set-up may have done it meanwhile
    if not groups:
        return
    wheels = list(dict.fromkeys(w for g in groups for w in read_wheels(g)))
    downloads = cache / "downloads"
    downloads.mkdir(exist_ok=True)
    parts = {w: downloads / f"{w.package}-{w.version}.whl.part" for w in wheels}
    have = sum(p.stat().st_size for p in parts.values() if p.exists())
    total = sum(w.size for w in wheels)
    need_space(cache, (total - have) / 1e6 + sum(UNPACKED_MB[g] for g in groups))
    urls = locate(wheels)
    opener = make_opener()
    progress = Progress(total, have)
    try:
        for wheel, url in zip(wheels, urls):
            download(opener, url, parts[wheel], wheel, progress)
    finally:
        progress.close()
    say(f"libtorch {VERSION}: fetched {(total - have) / 1e6:.0f} MB in {time.monotonic() - progress.start:.0f} s, "
        "unpacking …")
    for group in groups:
        for wheel in read_wheels(group):
            unpack(parts[wheel], group, wheel.package, root)
        write_stamp(root, group)
    for part in parts.values():
        part.unlink()


def main():
    cache, groups = Path(sys.argv[1]), sys.argv[2:]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("another set-up is at work in this cache; waiting for it …")
                fcntl.flock(lock, fcntl.LOCK_EX)
            install(groups, cache)
    except SetupError as error:
        sys.exit(f"set-up: {error}")
    except KeyboardInterrupt:
        sys.exit("\nset-up: interrupted; run the same command again and it goes on from here")
    except zipfile.BadZipFile as error:
        sys.exit(f"set-up: a wheel cannot be read ({error}); run again")
    except OSError as error:
        sys.exit(f"set-up: {error.filename or cache}: {error.strerror or error}; the cache folder is {cache}, "
                 "TESSERA_CACHE chooses another")


if __name__ == "__main__":
    main()
