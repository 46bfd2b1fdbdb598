#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Fails when a collector or contrib module drifts from the pinned set, in go.mod files and builder configurations:
# `go mod tidy` raises a module that nothing requires explicitly, and ocb compares only the modules it lists.
# It reads the files and not `go list -m all`, which in the distribution fails on a module that no package imports.
#
#   check-versions.sh [file …]
set -euo pipefail

# Core has stable (v1) and unstable (v0) modules, released together.
readonly core_stable=v1.64.0 core_unstable=v0.158.0
readonly contrib=v0.158.0
# The last awsemfexporter that can be had whole, with the internal modules only it uses.
readonly awsemf=v0.152.0

files=("$@")
if ((${#files[@]} == 0)); then
  cd "$(dirname "$0")/.."
  files=(go.mod cmd/otelcol-flowmonitor/go.mod test/k8sattributes/go.mod builder-config.yaml
    cmd/otelcol-flowmonitor-agent/go.mod builder-config-agent.yaml examples/embed/builder-config.yaml)
fi

failed=0
for file in "${files[@]}"; do
  if ! [[ -r $file ]]; then
    echo "check-versions: $file is missing" >&2
    failed=1
    continue
  fi
  awk -v file="$file" -v stable="$core_stable" -v unstable="$core_unstable" -v contrib="$contrib" -v awsemf="$awsemf" '
    function drift(want) {
      printf "check-versions: %s:%d: %s is at %s, not at %s\n", file, NR, module, version, want
      failed = 1
    }
    /^[[:space:]]*(\/\/|#)/ { next }
    {
      for (i = 1; i <= NF; i++) {
        if ($i !~ /^(go\.opentelemetry\.io\/collector|github\.com\/open-telemetry\/opentelemetry-collector-contrib)(\/|$)/) continue
        module = $i
        version = i < NF ? $(i + 1) : "no version"
        if (version == "=>") version = "a replacement"
        seen++
        if (module ~ /^go\.opentelemetry\.io\/collector/) {
          if (version != stable && version != unstable) drift(unstable " or " stable)
        } else if (module ~ /\/(exporter\/awsemfexporter|internal\/aws\/(awsutil|cwlogs|metrics))$/) {
          if (version != awsemf) drift(awsemf)
        } else if (version != contrib) drift(contrib)
        break
      }
    }
    END {
      if (!seen) {
        printf "check-versions: %s names no collector module: there is nothing to check, which cannot be right\n", file
        exit 1
      }
      if (!failed) printf "ok  %s: %d modules at the pinned versions\n", file, seen
      exit failed
    }' "$file" || failed=1
done
exit "$failed"
