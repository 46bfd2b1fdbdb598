#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# The light checks of the sources: go vet, tidy modules, gofmt, a licence line in each file, shell syntax.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0

complain() {
  printf 'lint: %s\n' "$1" >&2
  failed=1
}

# files PATTERN … lists what is or could be committed, without what generators write.
files() {
  git ls-files -z --cached --others --exclude-standard -- "$@" |
    while IFS= read -r -d '' file; do
      [[ -f $file ]] || continue
      case $file in cmd/otelcol-flowmonitor/* | cmd/otelcol-flowmonitor-agent/* | bpf/headers/*) continue ;; esac
      printf '%s\0' "$file"
    done
}

go vet ./... || complain "go vet found faults"
go -C test/k8sattributes vet ./... || complain "go vet found faults in test/k8sattributes"
go -C test/kafkabroker vet ./... || complain "go vet found faults in test/kafkabroker"

go mod tidy -diff || complain "go.mod or go.sum is not tidy: make tidy, then make generate-dist"

unformatted=$(files '*.go' | xargs -0 -r gofmt -l)
[[ -z $unformatted ]] || complain "not formatted by gofmt: ${unformatted//$'\n'/ }"

while IFS= read -r -d '' file; do
  head -n 5 "$file" | grep -qE 'SPDX-License-Identifier:|^// Code generated .* DO NOT EDIT\.$' ||
    complain "$file has no licence line (SPDX-License-Identifier)"
done < <(files '*.go' '*.c' '*.h' '*.sh' Makefile .ci/run)

while IFS= read -r -d '' file; do
  bash -n "$file" || complain "$file is not valid for bash"
  [[ -x $file ]] || complain "$file is not executable"
  grep -qE '^set -euo pipefail$' "$file" || complain "$file does not stop at errors (set -euo pipefail)"
done < <(files '*.sh' .ci/run)

((failed)) || echo "ok  go vet, go mod tidy, gofmt, licence lines, shell syntax"
exit "$failed"
