#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Makes all generated files again and fails when one of them differs from what is there, or is new. Compared with
# the working tree as it is, so that it also answers before a commit; in a clean clone that is the commit.
set -euo pipefail
cd "$(dirname "$0")/.."

# snapshot: hash and name of each file that is or could be committed.
snapshot() {
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [[ -f $file ]] && printf '%s\0' "$file" || true; done |
    LC_ALL=C sort -zu | xargs -0 sha256sum
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
snapshot >"$work/before"
"${MAKE:-make}" --no-print-directory generate
snapshot >"$work/after"

if ! diff -u0 "$work/before" "$work/after" >"$work/diff"; then
  echo "check-generated: these files are not what make generate writes (they are now; look at them and commit them):" >&2
  sed -nE 's/^[-+][0-9a-f]{64}  //p' "$work/diff" | sort -u | sed 's/^/  /' >&2
  git --no-pager diff --stat >&2
  exit 1
fi
echo "ok  $(wc -l <"$work/after") files, the generated ones as make generate writes them"
