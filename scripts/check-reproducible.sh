#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the collector twice and fails when the two binaries differ in one byte: once here, once from a copy of
# the tree in another folder.
#
#   check-reproducible.sh COLLECTOR         the copy links anew what the build cache holds (seconds)
#   check-reproducible.sh --cold COLLECTOR  the copy compiles everything anew (minutes)
set -euo pipefail
cd "$(dirname "$0")/.."
cold=""
if [[ ${1:-} == --cold ]]; then
  cold=yes
  shift
fi
binary=$1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Deeper than this tree, so that a path in the binary would show.
copy=$work/another/place/of/the/same/tree
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do [[ -e $file ]] && printf '%s\0' "$file" || true; done |
  tar --null --files-from=- -cf - | tar -xf - -C "$copy"

make=${MAKE:-make}
target=build
[[ $binary != *-agent ]] || target=build-agent
"$make" --no-print-directory "$target"
[[ -z $cold ]] || export GOCACHE=$work/cache
"$make" --no-print-directory -C "$copy" "$target"

sha256sum "$binary" "$copy/$binary" | sed "s|$work/||"
if ! cmp "$binary" "$copy/$binary"; then
  echo "check-reproducible: two builds of one tree differ" >&2
  exit 1
fi
echo "ok  two builds are the same, byte for byte"
