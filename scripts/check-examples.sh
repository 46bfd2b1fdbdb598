#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# Validates every collector configuration under examples/ and in the documents with the built collector, and fails for any
# YAML of the repository that neither this nor another check reads.
#
#   check-examples.sh COLLECTOR
set -euo pipefail
collector=$(readlink -f "$1")
tools=$(readlink -f "$(dirname "$0")/../tools/deploy")
# Its test runs it in a repository of its own.
cd "${CHECK_EXAMPLES_REPOSITORY:-$(dirname "$0")/..}"

failed=0
complain() {
  echo "check-examples: $1" >&2
  failed=1
}

# Builds a kustomization, and decodes each of its resources strictly.
manifests() {
  if [[ -n ${CHECK_EXAMPLES_MANIFESTS:-} ]]; then
    "$CHECK_EXAMPLES_MANIFESTS" "$1"
  else
    (cd "$tools" && go run ./manifests "$1")
  fi
}

validated=0 shown=0
while IFS= read -r -d '' file; do
  [[ -f $file ]] || continue
  folder=$(dirname "$file")
  case $file in
    # ocb reads these, in check-generated and check-embed.
    builder-config.yaml | builder-config-agent.yaml | examples/embed/builder-config.yaml) ;;
    # nfpm reads this, in test-packages.
    packaging/nfpm.yaml) ;;
    # mdatagen reads these, in check-generated.
    receiver/*/metadata.yaml | processor/*/metadata.yaml) ;;
    # Read by the tests of the package that the folder belongs to; a package without tests reads nothing.
    */testdata/*)
      compgen -G "${file%%/testdata/*}/*_test.go" >/dev/null || complain "$file belongs to a package that has no test"
      ;;
    examples/*/prometheus.yaml | examples/*/prometheus.yml)
      promtool check config "$file" >/dev/null || complain "$file: promtool refuses it"
      ;;
    examples/*/rules/tests/*.yaml)
      output=$(promtool test rules "$file" 2>&1) || complain "$file: promtool's test of the rules fails: $output"
      ;;
    # promtool cannot make native histograms: rtt-native.yaml is asked of a server in test/prometheus.
    examples/*/rules/*.yaml)
      promtool check rules "$file" >/dev/null || complain "$file: promtool refuses it"
      [[ -f ${file%/*}/tests/${file##*/} || $file == */rtt-native.yaml ]] || complain "$file has no test (${file%/*}/tests/${file##*/})"
      ;;
    # Opened by the flowmonitor processor when it starts, not when it is validated: a Go test starts it on each.
    examples/*/topology*.yaml | examples/*/monitors*.yaml)
      [[ -f examples/inputs_test.go ]] || complain "$file is read by no test (examples/inputs_test.go is gone)"
      ;;
    # A CloudFormation template: a Go test compares it with the configuration beside it.
    examples/cloudwatch/alarms.yaml)
      [[ -f test/cloudwatch/alarms_test.go ]] || complain "$file is read by no test (test/cloudwatch/alarms_test.go is gone)"
      ;;
    examples/*/kustomization.yaml)
      manifests "$PWD/$folder" >/dev/null || complain "$file: kustomize or the Kubernetes API refuses it"
      ;;
    examples/*)
      if [[ -f $folder/kustomization.yaml ]] && grep -q '^apiVersion:' "$file"; then
        # Read with the kustomization, if it is one of its resources.
        grep -qE "^ *- *$(basename "$file") *\$" "$folder/kustomization.yaml" || complain "$file is no resource of $folder/kustomization.yaml"
      elif ! grep -q '^service:' "$file"; then
        complain "$file is no collector configuration, and no check reads it"
      # In its own folder, as a user would run it: paths in it are relative to that.
      elif (cd "$folder" && "$collector" validate --config "$(basename "$file")"); then
        validated=$((validated + 1))
      else
        complain "$file: the collector refuses it"
      fi
      ;;
    *) complain "$file is read by no check" ;;
  esac
done < <(git ls-files -z --cached --others --exclude-standard -- '*.yaml' '*.yml')

# What a document shows is copied as well. A block is merged over a base that has what it leaves out.
blocks=$(mktemp -d)
trap 'rm -rf "$blocks"' EXIT
cat >"$blocks/base" <<'YAML'
receivers: {otlp: {protocols: {grpc: {}}}, sockops: {}}
processors: {flowmonitor: {}, nhi: {}, flowlimit: {}}
exporters: {debug: {}, prometheus: {endpoint: "127.0.0.1:9464"}}
service: {pipelines: {metrics: {receivers: [otlp], exporters: [debug]}}}
YAML
while IFS= read -r -d '' document; do
  [[ -f $document ]] || continue
  rm -f "$blocks"/[0-9]*
  awk -v into="$blocks" '/^```/ { writing = 0 } writing { print > file } /^```ya?ml/ { writing = 1; file = into "/" NR }' "$document"
  for block in "$blocks"/[0-9]*; do
    [[ -f $block ]] || continue
    place="$document:${block##*/}"
    # Of the collector builder, in check-embed; a topology, in examples/inputs_test.go.
    if grep -qE '^ *- gomod:|^replaces:' "$block" || grep -q '^vpcs:' "$block"; then
      continue
    elif ! grep -qE '^(receivers|processors|exporters|connectors|extensions|service):' "$block"; then
      complain "$place is no collector configuration, and no check reads it"
    elif "$collector" validate --config "$blocks/base" --config "$block"; then
      shown=$((shown + 1))
    else
      complain "$place: the collector refuses it"
    fi
  done
done < <(git ls-files -z --cached --others --exclude-standard -- '*.md')

((validated)) || complain "there is no collector configuration under examples/"

((failed)) || echo "ok  $validated collector configurations, and $shown in documents; every YAML file has its check"
exit "$failed"
