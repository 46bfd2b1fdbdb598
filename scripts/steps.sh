#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Makes targets one after the other, stops at the first that fails, and closes with what each took and with the
# closing lines of go test.
#
#   steps.sh TARGET …
set -euo pipefail
cd "$(dirname "$0")/.."
# Logs of an earlier run would be taken for this one's.
rm -f out/*.log
took=()
failed=""
for step in "$@"; do
  printf '\n=== make %s\n' "$step"
  start=$SECONDS
  if "${MAKE:-make}" --no-print-directory "$step"; then
    took+=("$(printf '%5ds  ok    %s' $((SECONDS - start)) "$step")")
  else
    took+=("$(printf '%5ds  FAIL  %s' $((SECONDS - start)) "$step")")
    failed=$step
    break
  fi
done

printf '\n=== closing lines of go test\n'
cat out/*.log 2>/dev/null | grep -E '^(ok|FAIL)[[:space:]]' || echo "(no test ran)"
printf '\n=== %s\n' "all steps"
printf '%s\n' "${took[@]}"
printf '%5ds  in all\n' "$SECONDS"
if [[ -n $failed ]]; then
  echo "make $failed failed"
  exit 1
fi
