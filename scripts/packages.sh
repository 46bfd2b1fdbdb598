#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds deb and rpm packages into out/packages, and for each variant and architecture the SBOM and the licences.
#
#   packages.sh [VARIANT ARCH]…   VARIANT: agent or full; ARCH: amd64 or arm64. Without: all.
#
# VERSION (0.1.0) is the packages' version.
set -euo pipefail
cd "$(dirname "$0")/.."
export VERSION=${VERSION:-0.1.0}
out=$PWD/out/packages
mkdir -p "$out"
# The same package from the same commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
(($#)) || set -- agent amd64 agent arm64 full amd64 full arm64

tools=$out/tools
go -C tools/packages build -o "$tools/" ./sbom github.com/goreleaser/nfpm/v2/cmd/nfpm

while (($#)); do
  variant=$1 ARCH=$2
  shift 2
  case $variant in
    full) PACKAGE=otelcol-flowmonitor OTHER=otelcol-flowmonitor-agent ;;
    agent) PACKAGE=otelcol-flowmonitor-agent OTHER=otelcol-flowmonitor ;;
    *) echo "packages: \"$variant\" is neither full nor agent" >&2; exit 2 ;;
  esac
  STAGE=$out/stage/$PACKAGE-$ARCH
  export PACKAGE OTHER ARCH STAGE
  rm -rf "$STAGE" && mkdir -p "$STAGE"
  # The same flags as make build has.
  CGO_ENABLED=0 GOARCH=$ARCH go -C "cmd/$PACKAGE" build -trimpath -buildvcs=false -mod=readonly -ldflags "-s -w" -o "$STAGE/otelcol-flowmonitor" .
  # The unit of the example; a package's programs are in /usr/bin.
  sed 's|^ExecStart=/usr/local/bin/|ExecStart=/usr/bin/|' examples/systemd/otelcol-flowmonitor.service >"$STAGE/otelcol-flowmonitor.service"
  "$tools/sbom" "$STAGE/otelcol-flowmonitor" "$STAGE/sbom.cdx.json" "$STAGE/THIRD-PARTY-NOTICES"
  for format in deb rpm; do
    "$tools/nfpm" package --config packaging/nfpm.yaml --packager "$format" --target "$out/" >/dev/null
  done
done
ls -l "$out" | awk '/deb$|rpm$/ {printf "%9d  %s\n", $5, $NF}'
