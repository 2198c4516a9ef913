#!/usr/bin/env bash
# The page's tests in a real browser, against a mock server. Needs Debian's chromium (or CHROMIUM=path) and a Python with
# playwright (or PYTHON=path); says what is missing and leaves it at that where they are not installed.
# With TESSERA_URL=http://… some tests run against that server too.
# usage: run.sh [test names as in unittest]
set -euo pipefail
cd "$(dirname "$0")"
python=${PYTHON:-python3}
if [ -z "${CHROMIUM:-}" ] && ! command -v chromium chromium-browser >/dev/null; then
  echo "web: skipped, there is no chromium (Debian package chromium)"
  exit 0
fi
if ! "$python" -c 'import playwright' 2>/dev/null; then
  echo "web: skipped, $python has no playwright (Python package playwright)"
  exit 0
fi
PYTHONDONTWRITEBYTECODE=1 exec "$python" run.py "$@"
