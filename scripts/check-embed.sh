#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds somebody else's collector from examples/embed with ocb, the released module replaced by this tree, in a
# temporary folder; looks for the five components in it and validates its configuration.
#
#   check-embed.sh            fails when examples/embed/go.sum is not the one that comes out
#   check-embed.sh --update   writes examples/embed/go.sum and builds nothing
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$PWD
example=$tree/examples/embed
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Ran by `go tool` in the root module, ocb would resolve paths there.
(cd tools && go build -o "$work/ocb" go.opentelemetry.io/collector/cmd/builder)

# A user's file has no replacement; before the release there is nothing else to build from.
cp "$example/builder-config.yaml" "$work/builder-config.yaml"
printf '\nreplaces:\n  - github.com/otel-flowmonitor/flowmonitor => %s\n' "$tree" >>"$work/builder-config.yaml"
mkdir "$work/otelcol"
[[ -e $example/go.sum ]] && cp "$example/go.sum" "$work/otelcol/go.sum"

cd "$work"
only_sources=()
[[ ${1:-} == --update ]] && only_sources=(--skip-compilation)
if ! ./ocb --config builder-config.yaml --output-path ./otelcol "${only_sources[@]}" >ocb.log 2>&1; then
  cat ocb.log >&2
  exit 1
fi
if [[ ${1:-} == --update ]]; then
  cp otelcol/go.sum "$example/go.sum"
  exit 0
fi

"$tree/scripts/check-versions.sh" otelcol/go.mod
if ! cmp otelcol/go.sum "$example/go.sum"; then
  echo "check-embed: examples/embed/go.sum is not the one that ocb leaves: make generate-dist" >&2
  exit 1
fi

binary=$work/otelcol/otelcol-with-flows
components=$("$binary" components)
for component in sockops flowmonitor nhi flowlimit nfmagent; do
  if ! grep -qE "^ *-? *name: $component\$" <<<"$components"; then
    printf '%s\ncheck-embed: %s is not among the components of the collector that was built\n' "$components" "$component" >&2
    exit 1
  fi
done
(cd "$example" && "$binary" validate --config config.yaml)
echo "ok  a collector with the five components embedded builds and takes its configuration"
