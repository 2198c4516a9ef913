#!/usr/bin/env bash
# Sets up what a goal needs: Debian packages by apt-get, libtorch in a cache folder shared by all clones.
# usage: tools/setup.sh demo|test|format|lint|parity|gpu...     (make calls it; a second run takes milliseconds)
# Prints its plan first; prints nothing when nothing is to be done. Nothing is installed into the user's Python.
#   TESSERA_CACHE           where libtorch goes (default: ${XDG_CACHE_HOME:-~/.cache}/tessera)
#   TESSERA_SKIP_PACKAGES=1 leave the packages alone (another distribution, everything installed by hand)
set -euo pipefail
export LC_ALL=C.UTF-8  # apt is read below: numbers with points, messages in English
here=$(cd "$(dirname "$0")" && pwd)
cache=${TESSERA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tessera}
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac
libtorch=$cache/libtorch-2.11.0
log=$here/../build/setup.log

build_packages="g++ cmake ninja-build ccache pkg-config libfmt-dev nlohmann-json3-dev libcli11-dev libyaml-cpp-dev
  libpcre2-dev libutf8proc-dev zlib1g-dev libjpeg62-turbo-dev libpng-dev libwebp-dev libavformat-dev libavcodec-dev libavutil-dev
  libswresample-dev libavdevice-dev libedit-dev libboost1.81-dev"
fetch_packages="ca-certificates python3 python3-pip"

die() { echo "set-up: $*" >&2; exit 1; }

# ---- what is missing ----
packages="" wheels=""
for goal in "$@"; do
  case $goal in
    demo) packages+=" $build_packages"; wheels+=" cpu" ;;
    test) packages+=" $build_packages libgtest-dev libgmock-dev fonts-noto-color-emoji espeak-ng flite python3"; wheels+=" cpu" ;;
    format) packages+=" clang-format-14 python3" ;;
    lint) packages+=" $build_packages clang-tidy-14"; wheels+=" cpu" ;;
    parity) packages+=" python3 python3-venv" ;;
    gpu) wheels+=" cpu gpu" ;;
    *) die "unknown goal '$goal' (demo, test, format, lint, parity, gpu)" ;;
  esac
done
missing_wheels=
for group in $wheels; do
  stamp=.complete; [ "$group" = cpu ] || stamp=.complete-$group
  case " $missing_wheels " in *" $group "*) continue ;; esac
  [ -f "$libtorch/$stamp" ] || missing_wheels+=" $group"
done
[ -z "$missing_wheels" ] || packages+=" $fetch_packages"

missing=
if [ "${TESSERA_SKIP_PACKAGES:-}" != 1 ] && [ -n "$packages" ]; then
  # shellcheck disable=SC2086
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $packages 2>/dev/null || true)
  for package in $packages; do
    case $'\n'$installed$'\n' in *$'\n'"$package installed"$'\n'*) ;; *) missing+=" $package" ;; esac
  done
  missing=$(tr ' ' '\n' <<<"$missing" | sort -u | tr '\n' ' ')
  missing=${missing# } missing=${missing% }
fi
[ -n "$missing$missing_wheels" ] || exit 0

# ---- can it be done here? ----
[ "$(uname -sm)" = "Linux x86_64" ] ||
  die "tessera runs on 64-bit x86 Linux; this is $(uname -sm). There is no libtorch build here for it."
if [ -n "$missing" ]; then
  distribution=$( (. /etc/os-release 2>/dev/null && echo "$ID $VERSION_ID") || true)
  [ "$distribution" = "debian 12" ] || die "packages are installed on Debian 12 only, this is ${distribution:-another system}.
  Install what these Debian packages hold: $missing
  and then say so with TESSERA_SKIP_PACKAGES=1, for example: TESSERA_SKIP_PACKAGES=1 make $1"
fi
as_root=
if [ -n "$missing" ] && [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || die "Debian packages are missing and there is neither root nor sudo. Ask an administrator for:
  apt-get install --no-install-recommends $missing"
  as_root="sudo"
fi

# ---- the plan ----
free_mb() { df -Pm "$1" 2>/dev/null | awk 'NR == 2 { print $4 }'; }
total_mb=0
echo "Set-up for '$*' (this is done once):" >&2
if [ -n "$missing" ]; then
  # shellcheck disable=SC2086
  if uris=$(apt-get install -y --no-install-recommends --print-uris -qq $missing 2>/dev/null); then
    package_mb=$(awk '{ bytes += $3 } END { printf "%d", bytes / 1e6 + 1 }' <<<"$uris")
    what="$(grep -c . <<<"$uris" || true) Debian packages"
    [ -n "$uris" ] || what="Debian packages"
  else  # apt has no lists to ask yet: what they weigh on a bare Debian 12
    package_mb=60 what="Debian packages"
    case $missing in *g++*) package_mb=240 ;; esac
  fi
  total_mb=$((total_mb + package_mb))
  echo "  $what, about $package_mb MB to fetch, with ${as_root:+sudo }apt-get: $missing" | fold -s -w 110 | sed 's/ *$//; 2,$s/^/    /' >&2
  [ "$(free_mb /)" -gt $((package_mb * 5)) ] || die "the disk has $(free_mb /) MB free, the packages need about $((package_mb * 5)) MB"
fi
if [ -n "$missing_wheels" ]; then
  wheel_mb=$(awk -v groups=" $missing_wheels " 'index(groups, " " $1 " ") && !seen[$5]++ { bytes += $4 } END { printf "%d", bytes / 1e6 }' "$here/wheels.txt")
  have_mb=$( (cat "$cache"/downloads/*.part 2>/dev/null || true) | wc -c | awk '{ printf "%d", $1 / 1e6 }')
  wheel_mb=$((wheel_mb > have_mb ? wheel_mb - have_mb : 0))
  total_mb=$((total_mb + wheel_mb))
  note=; case $missing_wheels in *gpu*) note=" with its CUDA side (3.2 GB unpacked)" ;; esac
  echo "  libtorch 2.11.0$note, $wheel_mb MB to fetch, unpacked into $libtorch" >&2
fi
echo "  about $((total_mb / 300 + 1)) to $((total_mb / 120 + 2)) minutes, by the speed of the network" >&2

# ---- Debian packages ----
mkdir -p "$(dirname "$log")"
apt() {  # apt-get with its talk in the log and its progress on one line
  local shown=$SECONDS kind name percent
  # Progress needs a descriptor of its own (apt makes it non-blocking, which breaks the packages' scripts on stdout),
  # and sudo closes those above 2: hence the inner shell.
  # shellcheck disable=SC2016
  $as_root env DEBIAN_FRONTEND=noninteractive ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
    bash -c 'exec 3>&1 >>"$0" 2>&1; exec apt-get -q -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 -o APT::Status-Fd=3 "$@"' \
    "$log" "$@" </dev/null |
    while IFS=: read -r kind name percent _; do
      case $kind in dlstatus) name=fetching ;; pmstatus) name="installing $name" ;; *) continue ;; esac
      if [ -t 2 ]; then
        printf '\rDebian packages: %3.0f %%  %s\033[K' "$percent" "$name" >&2
      elif [ $((SECONDS - shown)) -ge 10 ]; then
        shown=$SECONDS
        printf 'Debian packages: %3.0f %%  %s\n' "$percent" "$name" >&2
      fi
    done
}
explain_apt() {
  [ -t 2 ] && printf '\r\033[K' >&2
  case $(tail -n 60 "$log") in
    *"Could not get lock"* | *"Unable to acquire"*)
      die "another program is installing packages; run again when it is done" ;;
    *"resolving"* | *"Could not connect"* | *"Network is unreachable"* | *"onnection timed out"* | *"onnection failed"*)
      die "the Debian mirror cannot be reached: check the network (or http_proxy, or /etc/apt/sources.list), then run the same command again" ;;
    *"Unable to locate package"*)
      die "$(grep -o 'Unable to locate package.*' "$log" | tail -n 1): check /etc/apt/sources.list (Debian 12, main), then run again" ;;
    *"No space left"*) die "the disk is full; free about 1.5 GB and run again" ;;
    *"dpkg was interrupted"*) die "an earlier installation was interrupted: run '${as_root:+sudo }dpkg --configure -a', then again" ;;
  esac
  tail -n 15 "$log" >&2
  die "apt-get did not succeed; its last lines are above, the rest is in build/setup.log"
}
if [ -n "$missing" ]; then
  if [ -n "$as_root" ]; then
    if [ -t 0 ]; then sudo -v; else sudo -n true 2>/dev/null; fi ||
      die "sudo wants a password and there is no terminal, or you may not use it. Ask an administrator for:
  apt-get install --no-install-recommends $missing"
  fi
  printf '== %s\n' "$(date -u)" >>"$log"
  apt update || explain_apt
  # shellcheck disable=SC2086
  apt install -y --no-install-recommends $missing || explain_apt
  [ -t 2 ] && printf '\r\033[K' >&2
  echo "Debian packages: done after $SECONDS s" >&2
fi

# ---- libtorch ----
if [ -n "$missing_wheels" ]; then
  python=/usr/bin/python3
  [ -x $python ] || python=python3
  # shellcheck disable=SC2086
  "$python" "$here/libtorch.py" "$cache" $missing_wheels
fi
echo "Set-up done in $((SECONDS / 60)) min $((SECONDS % 60)) s" >&2
