#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the tests that run on other kernels, static, fetches the kernels, and boots one after the other.
#
#   test-kernels.sh [-short] [NAME …]    kernels of test/kernels/kernels.txt; none: all
set -euo pipefail
cd "$(dirname "$0")/.."
options=()
if [[ ${1:-} == -short ]]; then
  options=(-short)
  shift
fi
if (($#)); then
  names=("$@")
else
  mapfile -t names < <(sed -nE 's/^([^#[:space:]]+).*/\1/p' test/kernels/kernels.txt)
fi
scripts/fetch-kernel.sh "${options[@]}" "${names[@]}"

# What fails on an old kernel is told by the test's own words, not by symbols: they would be a third of what is unpacked.
export CGO_ENABLED=0
build=(-trimpath -ldflags "-s -w")
for architecture in $(printf '%s\n' "${names[@]##*-}" | sort -u); do
  bin=$PWD/out/kernels/bin-$architecture
  mkdir -p "$bin"
  export GOARCH=$architecture
  go build "${build[@]}" -o "$bin/guest" ./test/kernels/guest
  while read -r name package; do
    go test -c "${build[@]}" -o "$bin/$name.test" "$package"
  done <<'PACKAGES'
features ./test/kernels/features
bpf ./bpf
rtt ./bpf/tests
receiver ./receiver/sockopsreceiver
PACKAGES
done
unset GOARCH
go run ./test/kernels "${options[@]}" "${names[@]}"
