#!/usr/bin/env bash
# usage: tools/install.sh install|uninstall PREFIX DESTDIR
# Installs bin/tessera, lib/tessera (libtessera.so and libtorch), include/tessera, share/tessera (models, examples and the list of files);
# uninstall removes exactly the files of that list, and the folders that are then empty.
set -euo pipefail
cd "$(dirname "$0")/.."
action=$1 prefix=$2 destination=$3
case $prefix in /*) ;; *) echo "install: PREFIX must be an absolute path, got '$prefix'" >&2; exit 2 ;; esac
manifest=$destination$prefix/share/tessera/installed-files

writable() {  # the nearest folder that exists must be ours to write
  local folder=$1
  while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
  [ -w "$folder" ] || { echo "$action: $folder cannot be written; run 'sudo make $action', or choose another PREFIX" >&2; exit 1; }
}

remove_listed() {
  [ -f "$manifest" ] || return 0
  local file
  while IFS= read -r file; do rm -f "$destination$file"; done <"$manifest"
  # Folders of the listed files, deepest first; rmdir leaves those that hold anything else.
  { sed 's|/[^/]*$||' "$manifest"; echo "$prefix/share/tessera"; } | sort -u | while IFS= read -r folder; do
    while [ "${#folder}" -gt "${#prefix}" ]; do echo "$folder"; folder=${folder%/*}; done
  done | sort -ur | while IFS= read -r folder; do
    case $folder in "$prefix"/lib/tessera* | "$prefix"/share/tessera* | "$prefix"/include/tessera*) echo "$folder" ;; esac
  done >"$manifest.folders"
  mapfile -t folders <"$manifest.folders"
  rm -f "$manifest" "$manifest.folders"
  for folder in "${folders[@]}"; do rmdir "$destination$folder" 2>/dev/null || true; done
}

if [ "$action" = uninstall ]; then
  [ -f "$manifest" ] || { echo "uninstall: nothing is installed below $destination$prefix ($manifest is not there)" >&2; exit 1; }
  writable "$destination$prefix/share/tessera"
  remove_listed
  echo "tessera is removed from $destination$prefix" >&2
  exit 0
fi

if [ ! -x build/release/tessera ] || [ ! -f build/release/libtessera.so ]; then
  [ -z "${SUDO_USER:-}" ] || { echo "install: run 'make build' first, without sudo" >&2; exit 1; }
  make --no-print-directory build
fi
writable "$destination$prefix"
remove_listed
DESTDIR=$destination cmake --install build/release --prefix "$prefix" >build/install.log || { tail -n 5 build/install.log >&2; exit 1; }
mkdir -p "$(dirname "$manifest")"
sort build/release/install_manifest.txt >"$manifest"
rm -f build/release/install_manifest.txt
echo "tessera is installed: $destination$prefix/bin/tessera ('make uninstall PREFIX=$prefix' removes it)" >&2
