#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Downloads kernels of Debian by apt and unpacks them, without installing anything: vmlinuz and lib/modules of each
# kernel of test/kernels/kernels.txt go to out/kernels/NAME. What is there already is left as it is; to have a newer
# one, remove its folder. The mirror is the one that this machine's own apt uses.
#
#   fetch-kernel.sh NAME …
set -euo pipefail
cd "$(dirname "$0")/.."
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "fetch-kernel: $1" >&2
  exit 1
}

# mirror finds the main archive of Debian among this machine's own sources; security and third parties are others.
mirror() {
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
    sed -n 's/^Debian|Debian|main|//p' | sed -n 1p
}

# apt_for SUITE ARCHITECTURE fills apt with options under which apt knows that suite and nothing else.
apt_for() {
  local home=$PWD/out/kernels/apt/$1-$2
  mkdir -p "$home"/{lists,cache/archives}/partial
  : >"$home/status"
  echo "deb [signed-by=$keyring] $uri $1 main" >"$home/sources.list"
  apt=(-qq -o "Dir::State=$home" -o "Dir::State::status=$home/status" -o "Dir::State::lists=$home/lists"
    -o "Dir::Cache=$home/cache" -o "Dir::Etc::sourcelist=$home/sources.list" -o Dir::Etc::sourceparts=/dev/null
    -o "APT::Architecture=$2" -o "APT::Architectures::=$2" -o Acquire::Languages=none
    -o APT::Get::List-Cleanup=false -o APT::Sandbox::User=root)
  # Only what names packages: descriptions for software centres are as large.
  apt+=(-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
}

# depends PACKAGE PATTERN lists what a package depends on, of the names that match.
depends() {
  apt-cache "${apt[@]}" show --no-all-versions "$1" |
    sed -n 's/^Depends: //p' | tr ',|' '\n\n' | sed -E 's/^ *([^ (]+).*/\1/' | grep -E "$2" || true
}

fetch() {
  local name=$1 suite=$2 meta=$3 architecture=$4
  local to=$PWD/out/kernels/$name
  apt_for "$suite" "$architecture"
  apt-get "${apt[@]}" update || fail "apt-get could not read the suite $suite of $uri for $architecture"
  local image
  image=$(depends "$meta" '^linux-image-[0-9]')
  [[ $(wc -w <<<"$image") == 1 ]] || fail "$meta of $suite does not depend on one kernel image (found: \"$image\")"
  # Newer kernels come in two packages.
  local packages=("$image")
  mapfile -t -O 1 packages < <(depends "$image" '^linux-modules-[0-9]')

  local work=$to.new
  rm -rf "$work"
  mkdir -p "$work"
  (cd "$work" && apt-get "${apt[@]}" download "${packages[@]}") || fail "apt-get could not download ${packages[*]} of $suite"
  local deb
  for deb in "$work"/*.deb; do
    dpkg-deb --extract "$deb" "$work/tree"
  done
  cp "$work"/tree/boot/vmlinuz-* "$work/vmlinuz"
  local modules=$work/tree/lib/modules
  [[ -d $modules ]] || modules=$work/tree/usr/lib/modules
  mv "$modules"/* "$work/modules"
  printf '%s\n' "${packages[*]}" >"$work/package"
  rm -rf "$work/tree" "$work"/*.deb "$to"
  mv "$work" "$to"
  echo "fetch-kernel: $name is ${packages[*]} of $suite"
}

(($#)) || fail "usage: fetch-kernel.sh NAME …"
uri=$(mirror)
for name; do
  if ! line=$(grep -E "^$name[[:space:]]" test/kernels/kernels.txt); then
    fail "test/kernels/kernels.txt has no kernel \"$name\""
  fi
  [[ ! -e out/kernels/$name/vmlinuz ]] || continue
  [[ -n $uri ]] || fail "this machine's apt has no source of Debian's main archive (apt-get indextargets)"
  read -r _ suite package architecture <<<"$line"
  fetch "$name" "$suite" "$package" "$architecture"
done
