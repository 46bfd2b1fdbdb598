#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Downloads kernels of Debian by apt and unpacks them, without installing anything: vmlinuz and lib/modules of each
# kernel of test/kernels/kernels.txt go to out/kernels/NAME, and the programs that the tests call there, with what
# those need, to out/kernels/userland-ARCHITECTURE. What is there already is left as it is; to have a newer one, remove
# its folder.
#
#   fetch-kernel.sh [-short] NAME …    -short: only the kernels
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
  echo "fetch-kernel: $1" >&2
  exit 1
}

# depends PACKAGE PATTERN lists what a package depends on, of the names that match.
depends() {
  "${suite[@]}" apt-cache show --no-all-versions "$1" |
    sed -n 's/^Depends: //p' | tr ',|' '\n\n' | sed -E 's/^ *([^ (]+).*/\1/' | grep -E "$2" || true
}

fetch() {
  local name=$1 release=$2 meta=$3 architecture=$4
  local to=$PWD/out/kernels/$name
  suite=("$PWD/scripts/apt-suite.sh" "$release" "$architecture")
  "${suite[@]}" apt-get update || fail "apt-get could not read the suite $release for $architecture"
  local image
  image=$(depends "$meta" '^linux-image-[0-9]')
  [[ $(wc -w <<<"$image") == 1 ]] || fail "$meta of $release does not depend on one kernel image (found: \"$image\")"
  # Newer kernels come in three packages.
  local packages=("$image")
  mapfile -t -O 1 packages < <(depends "$image" '^linux-(binary|modules)-[0-9]')

  local work=$to.new
  rm -rf "$work"
  mkdir -p "$work"
  (cd "$work" && "${suite[@]}" apt-get download "${packages[@]}") || fail "apt-get could not download ${packages[*]} of $release"
  local deb
  for deb in "$work"/*.deb; do
    dpkg-deb --extract "$deb" "$work/tree"
  done
  find "$work/tree" -name 'vmlinuz*' -type f -exec cp {} "$work/vmlinuz" \;
  [[ -e $work/vmlinuz ]] || fail "there is no vmlinuz in ${packages[*]} of $release"
  local modules=$work/tree/lib/modules
  [[ -d $modules ]] || modules=$work/tree/usr/lib/modules
  mv "$modules"/* "$work/modules"
  printf '%s\n' "${packages[*]}" >"$work/package"
  rm -rf "$work/tree" "$work"/*.deb "$to"
  mv "$work" "$to"
  echo "fetch-kernel: $name is ${packages[*]} of $release"
}

# userland ARCHITECTURE: the programs of the oldest release whose kernel has to pass.
userland() {
  local to=$PWD/out/kernels/userland-$1 work=$PWD/out/kernels/userland-$1.new
  [[ ! -e $to ]] || return 0
  suite=("$PWD/scripts/apt-suite.sh" bookworm "$1")
  rm -rf "$work"
  mkdir -p "$work/archives/partial" "$work/tree"
  : >"$work/nothing-is-installed"
  "${suite[@]}" apt-get update || fail "apt-get could not read the suite bookworm for $1"
  "${suite[@]}" apt-get -o "Dir::State::status=$work/nothing-is-installed" -o "Dir::Cache::archives=$work/archives" \
    -o Debug::NoLocking=true install --download-only -y --no-install-recommends \
    bash coreutils iproute2 nftables procps util-linux ||
    fail "apt-get could not download the programs of the tests for $1"
  local deb
  for deb in "$work"/archives/*.deb; do
    case ${deb##*/} in perl* | libperl* | lib*-perl_* | usrmerge_*) ;; # to configure packages, which nobody does here
      *) dpkg-deb --extract "$deb" "$work/tree" ;;
    esac
  done
  # Every boot unpacks it anew.
  rm -rf "$work/tree"/usr/{share,include,games,lib/*/perl*,lib/*/gconv,lib/systemd} "$work/tree"/{etc,var,boot,run,tmp}
  mv "$work/tree" "$to"
  rm -rf "$work"
  echo "fetch-kernel: the programs of the tests for $1 are those of bookworm"
}

short=""
if [[ ${1:-} == -short ]]; then
  short=yes
  shift
fi
(($#)) || fail "usage: fetch-kernel.sh [-short] NAME …"
for name; do
  if ! line=$(grep -E "^$name[[:space:]]" test/kernels/kernels.txt); then
    fail "test/kernels/kernels.txt has no kernel \"$name\""
  fi
  [[ ! -e out/kernels/$name/vmlinuz ]] || continue
  read -r _ release package architecture <<<"$line"
  fetch "$name" "$release" "$package" "$architecture"
done
[[ -z $short ]] || exit 0
for architecture in $(printf '%s\n' "${@##*-}" | sort -u); do
  userland "$architecture"
done
