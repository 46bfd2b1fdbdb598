#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# go test with its closing lines on the terminal and everything in out/NAME.log. With CI set, a test that skipped
# fails the run: a machine that checks this project must be able to run all of it.
#
#   go-test.sh NAME [go test arguments …]
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
shift
log=out/$name.log
mkdir -p out

status=0
go test -v "$@" 2>&1 | tee "$log" | grep --line-buffered -E '^(ok|FAIL|\?|panic:|---)[[:space:]]' |
  grep --line-buffered -vE '^--- (PASS|SKIP)' || status=${PIPESTATUS[0]}

if ((status)); then
  echo "--- what did not pass (all of it is in $log)"
  grep -vE '^[[:space:]]*(=== (RUN|PAUSE|CONT|NAME)|--- (PASS|SKIP)|PASS$|ok )|no test files\]$' "$log" || true
  exit "$status"
fi
if ! grep -qE '^ok[[:space:]]' "$log"; then
  echo "go-test: no package has passed: the patterns name no test ($log)" >&2
  exit 1
fi
if skipped=$(grep -B1 -E '^[[:space:]]*--- SKIP:' "$log"); then
  echo "--- skipped"
  echo "$skipped"
  if [[ -n ${CI:-} ]]; then
    echo "go-test: in CI no test may skip" >&2
    exit 1
  fi
fi
