#!/usr/bin/env bash
# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0
#
# check-examples.sh on small repositories: what it must pass and what it must not.
set -euo pipefail
check=$(dirname "$(readlink -f "$0")")/check-examples.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# A stand-in for the collector that refuses what says so.
collector=$work/collector
cat >"$collector" <<'SH'
#!/bin/sh
[ "$1 $2" = "validate --config" ] && ! grep -q refuse "$3" ${5:+"$5"}
SH
chmod 755 "$collector"

# The same for manifests.
manifests=$work/manifests
cat >"$manifests" <<'SH'
#!/bin/sh
! grep -q refuse "$1/kustomization.yaml"
SH
chmod 755 "$manifests"

# A repository with one good configuration.
new_repository() {
  repository=$(mktemp -d "$work/repository.XXXX")
  git -C "$repository" init -q
  write examples/quickstart/config.yaml 'service: {}'
}

write() {
  mkdir -p "$repository/$(dirname "$1")"
  echo "$2" >"$repository/$1"
}

# expect WANTED-STATUS WANTED-WORDS
expect() {
  local status=0 output
  output=$(CHECK_EXAMPLES_REPOSITORY=$repository CHECK_EXAMPLES_MANIFESTS=$manifests "$check" "$collector" 2>&1) || status=$?
  if [[ $status != "$1" || $output != *"$2"* ]]; then
    printf 'FAIL: %s: status %s (wanted %s), should say "%s":\n%s\n' "$case_name" "$status" "$1" "$2" "$output"
    failed=1
  fi
}

start() {
  case_name=$1
  new_repository
}

start "a repository of checked files passes"
write builder-config.yaml 'dist: {}'
write receiver/r/metadata.yaml 'type: r'
write receiver/r/testdata/config.yaml 'r: {}'
write receiver/r/config_test.go 'package r'
expect 0 "ok  1 collector configurations"

start "a configuration that the collector refuses"
write examples/other/config.yaml 'service: {} # refuse'
expect 1 "examples/other/config.yaml: the collector refuses it"

start "a YAML file that is no configuration"
write examples/other/values.yaml 'a: b'
expect 1 "examples/other/values.yaml is no collector configuration, and no check reads it"

start "a YAML file that nobody reads"
write deploy/thing.yml 'a: b'
expect 1 "deploy/thing.yml is read by no check"

start "test data of a package without tests"
write receiver/r/testdata/config.yaml 'r: {}'
expect 1 "belongs to a package that has no test"

start "a template that no test reads"
write examples/cloudwatch/alarms.yaml 'Resources: {}'
expect 1 "examples/cloudwatch/alarms.yaml is read by no test"

start "a topology that no test reads"
write examples/quickstart/topology.yaml 'vpcs: []'
expect 1 "examples/quickstart/topology.yaml is read by no test"

start "a topology that a test reads"
write examples/quickstart/topology.yaml 'vpcs: []'
write examples/inputs_test.go 'package examples'
expect 0 "ok  1 collector configurations"

start "manifests of a kustomization"
write examples/k8s/kustomization.yaml 'resources:
  - thing.yaml'
write examples/k8s/thing.yaml 'apiVersion: v1'
write examples/k8s/config.yaml 'service: {}'
expect 0 "ok  2 collector configurations"

start "a kustomization that is refused"
write examples/k8s/kustomization.yaml 'resources: [] # refuse'
expect 1 "examples/k8s/kustomization.yaml: kustomize or the Kubernetes API refuses it"

start "a manifest that is in no kustomization"
write examples/k8s/kustomization.yaml 'resources:
  - something.yaml'
write examples/k8s/thing.yaml 'apiVersion: v1'
expect 1 "examples/k8s/thing.yaml is no resource of examples/k8s/kustomization.yaml"

rules='groups: [{name: g, rules: [{record: "level:metric:op", expr: "1 + 1"}]}]'
tests='rule_files: [../r.yaml]
tests: [{interval: 1m, promql_expr_test: [{expr: "level:metric:op", eval_time: 1m, exp_samples: [{labels: "level:metric:op", value: 2}]}]}]'

start "rules with a test that passes"
write examples/p/rules/r.yaml "$rules"
write examples/p/rules/tests/r.yaml "$tests"
expect 0 "ok  1 collector configurations"

start "rules with a test that fails"
write examples/p/rules/r.yaml "${rules/1 + 1/1 + 2}"
write examples/p/rules/tests/r.yaml "$tests"
expect 1 "examples/p/rules/tests/r.yaml: promtool's test of the rules fails"

start "rules without a test"
write examples/p/rules/r.yaml "$rules"
expect 1 "examples/p/rules/r.yaml has no test"

start "rules that are none"
write examples/p/rules/r.yaml "${rules/1 + 1/1 +}"
write examples/p/rules/tests/r.yaml "$tests"
expect 1 "examples/p/rules/r.yaml: promtool refuses it"

start "configurations in documents"
write docs/a.md '```yaml
processors: {flowlimit: {}}
```
refuse
```yaml
service: {}
```'
expect 0 "and 2 in documents"

start "a configuration in a document that the collector refuses"
write docs/a.md '# A
```yaml
processors: {flowlimit: refuse}
```'
expect 1 "docs/a.md:2: the collector refuses it"

start "YAML in a document that nobody reads"
write docs/a.md '```yaml
a: b
```'
expect 1 "docs/a.md:1 is no collector configuration, and no check reads it"

start "no configuration at all is not success"
rm -r "$repository/examples"
expect 1 "there is no collector configuration under examples/"

((failed)) || echo "ok  check-examples.sh"
exit "$failed"
