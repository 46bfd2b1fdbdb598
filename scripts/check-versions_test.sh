#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# check-versions.sh on files that drift, and on files that leave it nothing to check.
set -euo pipefail
check=$(dirname "$(readlink -f "$0")")/check-versions.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect WANTED-STATUS WANTED-WORDS CASE, with the file's text on standard input.
expect() {
  local status=0 output
  cat >"$work/go.mod"
  output=$("$check" "$work/go.mod" 2>&1) || status=$?
  if [[ $status != "$1" || $output != *"$2"* ]]; then
    printf 'FAIL: %s: status %s (wanted %s), should say "%s":\n%s\n' "$3" "$status" "$1" "$2" "$output"
    failed=1
  fi
}

expect 0 "4 modules" "the pinned set passes" <<'MOD'
module example.com/m
require (
	go.opentelemetry.io/collector/pdata v1.64.0
	go.opentelemetry.io/collector/otelcol v0.158.0 // indirect
	github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden v0.158.0
	github.com/open-telemetry/opentelemetry-collector-contrib/internal/aws/cwlogs v0.152.0 // indirect
	go.opentelemetry.io/otel v1.44.0
)
MOD
expect 1 "go.mod:2: go.opentelemetry.io/collector/pdata is at v1.65.0" "a core module that tidy raised" <<'MOD'
require (
	go.opentelemetry.io/collector/pdata v1.65.0 // indirect
	go.opentelemetry.io/collector/otelcol v0.158.0
)
MOD
expect 1 "is at v0.158.1" "a version that only begins like the pinned one" <<'MOD'
require go.opentelemetry.io/collector/otelcol v0.158.1
MOD
expect 1 "opentelemetry-collector-contrib/pkg/golden is at v0.152.0" "a contrib module at the version of awsemfexporter" <<'MOD'
require (
	go.opentelemetry.io/collector/otelcol v0.158.0
	github.com/open-telemetry/opentelemetry-collector-contrib/pkg/golden v0.152.0
)
MOD
expect 1 "exporter/awsemfexporter is at v0.158.0, not at v0.152.0" "awsemfexporter at the version of the others" <<'MOD'
  - gomod: go.opentelemetry.io/collector/exporter/debugexporter v0.158.0
  - gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/awsemfexporter v0.158.0
MOD
expect 1 "is at a replacement" "a core module that is replaced" <<'MOD'
require go.opentelemetry.io/collector/pdata v1.64.0
replace go.opentelemetry.io/collector/pdata => ../pdata
MOD
expect 1 "names no collector module" "a file without any collector module" <<'MOD'
module example.com/m
require go.opentelemetry.io/otel v1.44.0
MOD
expect 1 "names no collector module" "an empty file" </dev/null

status=0
output=$("$check" "$work/absent" 2>&1) || status=$?
if [[ $status != 1 || $output != *"absent is missing"* ]]; then
  printf 'FAIL: a file that is missing: status %s\n%s\n' "$status" "$output"
  failed=1
fi

((failed)) || echo "ok  check-versions.sh"
exit "$failed"
