#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs every fuzz test of the module for a while, one after the other (go test takes one at a time).
#
#   fuzz.sh DURATION    1m, or a number of inputs: 2000x
set -euo pipefail
cd "$(dirname "$0")/.."
duration=$1

ran=0
for package in $(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u); do
  for name in $(grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$package"/*_test.go | sed 's/^func //'); do
    echo "--- $package $name"
    go test -run '^$' -fuzz "^$name\$" -fuzztime "$duration" "$package"
    ran=$((ran + 1))
  done
done
((ran)) || { echo "fuzz: there is no fuzz test" >&2; exit 1; }
