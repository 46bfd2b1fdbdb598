#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs apt with suites of Debian that this machine's own lists do not have, without adding them there: lists and
# downloads are under out/apt, the mirror is the one that this machine uses for Debian, and what is installed is this
# machine's.
#
#   apt-suite.sh SUITE[,SUITE…] ARCHITECTURE apt-get|apt-cache [arguments …]
set -euo pipefail
folder=$PWD
cd "$(dirname "$0")/.."
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
suites=$1 architecture=$2 command=$3
shift 3

# mirror finds the main archive: security updates and third parties have labels of their own.
mirror() {
  apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' 'Created-By: Packages' |
    sed -n 's/^Debian|Debian|main|//p' | sed -n 1p
}
uri=$(mirror)
if [[ -z $uri ]]; then
  apt-get -qq update # until it was read once, nobody knows whose archive it is
  uri=$(mirror)
fi
if [[ -z $uri ]]; then
  echo "apt-suite: this machine's apt has no source of Debian's main archive: kernels and emulators are taken from there" >&2
  exit 1
fi

home=$PWD/out/apt/$suites-$architecture
mkdir -p "$home"/{lists,cache/archives}/partial
for suite in ${suites//,/ }; do
  echo "deb [signed-by=$keyring] $uri $suite main"
done >"$home/sources.list"

cd "$folder"
exec "$command" -qq \
  -o Dir::State::lists="$home/lists" -o Dir::Cache="$home/cache" \
  -o Dir::Etc::sourcelist="$home/sources.list" -o Dir::Etc::sourceparts=/dev/null \
  -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" \
  -o Acquire::Languages=none -o APT::Sandbox::User=root -o DPkg::Lock::Timeout=120 \
  -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
  "$@" # the last option: descriptions for software centres are as large as what names packages
