#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the tests that run on other kernels, static, fetches the kernels, and boots one after the other.
#
#   test-kernels.sh [-short] [-update] [NAME …]
#
# NAME is a kernel of test/kernels/kernels.txt, or this-machine; none: all. -short runs a handful of tests, -update
# writes what is found into the table of kernels.
set -euo pipefail
cd "$(dirname "$0")/.."
options=() short=()
while [[ ${1:-} == -* ]]; do
  options+=("$1")
  if [[ $1 == -short ]]; then short=(-short); fi
  shift
done
if (($#)); then
  names=("$@")
else
  mapfile -t names < <(sed -nE 's/^([^#[:space:]]+).*/\1/p' test/kernels/kernels.txt)
  names+=(this-machine)
fi
boot=() architectures=()
for name in "${names[@]}"; do
  case $name in
    this-machine) architectures+=("$(go env GOARCH)") ;;
    *) boot+=("$name") architectures+=("${name##*-}") ;;
  esac
done
((${#boot[@]} == 0)) || scripts/fetch-kernel.sh "${short[@]}" "${boot[@]}"

# What fails on an old kernel is told by the test's own words, not by symbols: they would be a third of what is unpacked.
export CGO_ENABLED=0
build=(-trimpath -ldflags "-s -w")
for architecture in $(printf '%s\n' "${architectures[@]}" | sort -u); do
  bin=$PWD/out/kernels/bin-$architecture
  mkdir -p "$bin"
  export GOARCH=$architecture
  go build "${build[@]}" -o "$bin/guest" ./test/kernels/guest
  # As make build does, so that it is there already for this machine's architecture.
  go -C cmd/otelcol-flowmonitor build -buildvcs=false -mod=readonly "${build[@]}" -o "$bin/otelcol-flowmonitor" .
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
