#!/usr/bin/env bash
# Formats the C++ sources with clang-format 14; --check changes nothing, prints the differences and fails.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=$(command -v clang-format-14 || command -v clang-format) || { echo "format: clang-format 14 is missing; run 'tools/setup.sh format'" >&2; exit 1; }
case $("$tool" --version) in *" version 14."*) ;; *) echo "format: clang-format 14 is needed, this is $("$tool" --version)" >&2; exit 1 ;; esac

mapfile -t files < <(git ls-files -co --exclude-standard -- '*.h' '*.cc' '*.cu' '*.cuh' | while read -r f; do [ ! -f "$f" ] || echo "$f"; done)
[ ${#files[@]} -gt 0 ] || exit 0
if [ "${1:-}" != --check ]; then
  printf '%s\0' "${files[@]}" | xargs -0 -n 8 -P "$(nproc)" "$tool" -i
  exit 0
fi
if printf '%s\0' "${files[@]}" | xargs -0 -n 8 -P "$(nproc)" "$tool" --dry-run -Werror 2>/dev/null; then
  echo "format: ${#files[@]} files are well formatted"
  exit 0
fi
for file in "${files[@]}"; do
  "$tool" "$file" | diff -u --label "$file" --label "$file (formatted)" "$file" - || true
done
echo "format: the differences are above; 'make format' applies them" >&2
exit 1
