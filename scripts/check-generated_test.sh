#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# check-generated.sh on a repository whose generator writes one file.
set -euo pipefail
scripts=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

start() {
  case_name=$1
  repository=$(mktemp -d "$work/repository.XXXX")
  mkdir "$repository/scripts"
  cp "$scripts/check-generated.sh" "$repository/scripts/"
  printf 'generate:\n\tcp source generated\n' >"$repository/Makefile"
  echo one >"$repository/source"
  echo one >"$repository/generated"
  git -C "$repository" init -q
  git -C "$repository" add .
}

# expect WANTED-STATUS WANTED-WORDS
expect() {
  local status=0 output
  output=$("$repository/scripts/check-generated.sh" 2>&1) || status=$?
  if [[ $status != "$1" || $output != *"$2"* ]]; then
    printf 'FAIL: %s: status %s (wanted %s), should say "%s":\n%s\n' "$case_name" "$status" "$1" "$2" "$output"
    failed=1
  fi
}

start "what the generator writes passes"
expect 0 "as make generate writes them"

start "a generated file that is out of date is named"
echo two >"$repository/source"
expect 1 $'commit them):\n  generated'

start "a generated file that was never added is named"
git -C "$repository" rm -q --cached generated
rm "$repository/generated"
expect 1 $'commit them):\n  generated'

start "a generator that fails, fails the check"
printf 'generate:\n\tfalse\n' >"$repository/Makefile"
expect 2 "Error 1"

((failed)) || echo "ok  check-generated.sh"
exit "$failed"
