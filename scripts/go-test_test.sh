#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# go-test.sh on a module of its own: what it lets pass must have run.
set -euo pipefail
scripts=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
mkdir "$work/scripts"
cp "$scripts/go-test.sh" "$work/scripts/"
printf 'module example.com/m\n\ngo 1.25\n' >"$work/go.mod"

# test_body BODY writes the module's one test.
test_body() {
  printf 'package m\n\nimport "testing"\n\nfunc TestOne(t *testing.T) {\n%s\n}\n' "$1" >"$work/m_test.go"
}

# expect WANTED-STATUS WANTED-WORDS CASE [VARIABLE=value …]
expect() {
  local want=$1 words=$2 name=$3 status=0 output
  shift 3
  output=$(cd "$work" && env -u CI GOFLAGS= "$@" scripts/go-test.sh one ./... 2>&1) || status=$?
  if { ((want == 0)) && ((status != 0)); } || { ((want != 0)) && ((status == 0)); } || [[ $output != *"$words"* ]]; then
    printf 'FAIL: %s: status %s (wanted %s), should say "%s":\n%s\n' "$name" "$status" "$want" "$words" "$output"
    failed=1
  fi
}

test_body 't.Log("fine")'
expect 0 "ok  " "a test that passes" CI=true
test_body 't.Error("two is not one")'
expect 1 "two is not one" "a test that fails shows why"
test_body 't.Skip("no such kernel")'
expect 0 "no such kernel" "a test that skips is named"
expect 1 "in CI no test may skip" "a test that skips fails in CI" CI=true
test_body 't.Run("part", func(t *testing.T) { t.Skip("no such kernel") })'
expect 1 "TestOne/part" "a subtest that skips fails in CI" CI=true
test_body 'this is no Go'
expect 1 "m_test.go" "a test that does not compile shows why"
rm "$work/m_test.go"
echo 'package m' >"$work/m.go"
expect 1 "the patterns name no test" "no test at all is not success"

((failed)) || echo "ok  go-test.sh"
exit "$failed"
