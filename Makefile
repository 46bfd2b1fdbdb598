# Copyright The flow monitor Authors
# SPDX-License-Identifier: Apache-2.0

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# The steps of a target are meant in their order; go itself uses all cores.
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Debian leaves these out of an ordinary user's PATH; nft, nginx and tc live there.
export PATH := $(PATH):/usr/sbin:/sbin
export MAKE

DISTRIBUTION := cmd/otelcol-flowmonitor
BINARY := bin/otelcol-flowmonitor
# Where the end-to-end suites and the demo find the collector.
export FLOWMONITOR_COLLECTOR := $(CURDIR)/$(BINARY)

# The same binary from the same commit, wherever and by whomever it is built: no paths, no VCS stamp, and no cgo,
# which Go would otherwise use wherever it happens to find a C compiler.
BUILD_FLAGS := -trimpath -buildvcs=false -mod=readonly -ldflags "-s -w"

UNIT_PACKAGES = $$(go list ./... | grep -vE '^github.com/otel-flowmonitor/flowmonitor/test(/|$$)')
# Packages whose go:generate lines need no eBPF compiler.
GENERATED_PACKAGES = $$(go list -e ./... | grep -vE '^github.com/otel-flowmonitor/flowmonitor/bpf(/|$$)')

BENCHTIME ?= 1s
FUZZTIME ?= 1m

## Use

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^## / {printf "\n%s\n", substr($$0, 4)} /^[a-z0-9-]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: setup-run build ## watch this machine's own connections (examples/quickstart); ends with Ctrl-C
	cd examples/quickstart && exec $(FLOWMONITOR_COLLECTOR) --config config.yaml

.PHONY: demo
demo: setup-demo build ## two VPCs, a transit gateway, faults and verdicts, in under two minutes
	go run ./examples/demo

.PHONY: build
build: ## compile the collector, bin/otelcol-flowmonitor, from the committed sources
	@mkdir -p bin
	CGO_ENABLED=0 go -C $(DISTRIBUTION) build $(BUILD_FLAGS) -o $(CURDIR)/$(BINARY) .

.PHONY: build-agent
build-agent: ## compile the small agent without cloud SDKs, bin/otelcol-flowmonitor-agent
	@mkdir -p bin
	CGO_ENABLED=0 go -C $(DISTRIBUTION)-agent build $(BUILD_FLAGS) -o $(CURDIR)/$(BINARY)-agent .

.PHONY: packages
packages: ## deb and rpm for amd64 and arm64, with SBOM and licences, into out/packages
	@scripts/packages.sh

.PHONY: setup
setup: setup-test ## install the Debian packages that the tests call, where missing

.PHONY: setup-run setup-demo setup-test setup-generate setup-race setup-kernels setup-kernels-short
setup-run setup-demo setup-test setup-generate setup-race setup-kernels setup-kernels-short: setup-%:
	@scripts/setup.sh $*

.PHONY: clean
clean: ## remove what make built
	rm -rf bin out

## Tests

# Making the generated files again needs the pinned clang, which only CI installs for a test.
TEST_STEPS := setup-test check-versions test-scripts lint test-unit build validate-examples test-packages test-image test-e2e demo \
	test-kernels-short test-race bench-short fuzz-short check-reproducible $(if $(CI),check-generated) check-embed

.PHONY: test
test: ## everything that CI runs (.ci/run), set-up included
	@scripts/steps.sh $(TEST_STEPS)

.PHONY: test-unit
test-unit: ## the packages' own tests; as root, those that need the kernel too
	@scripts/go-test.sh unit -count=1 -p 2 -timeout 10m $(UNIT_PACKAGES)

.PHONY: test-e2e
test-e2e: build ## the suites in test/, against the built collector
	@scripts/go-test.sh e2e -count=1 -p 1 -timeout 20m ./test/...

.PHONY: test-packages
test-packages: setup-test build ## the agent's deb and rpm, installed, upgraded and purged under a systemd of their own; licences
	@scripts/test-packages.sh

.PHONY: test-image
test-image: setup-test build ## what packaging/Dockerfile puts into the image starts, without root and without a capability
	@scripts/test-image.sh $(BINARY)

.PHONY: test-churn
test-churn: setup-test build ## 500,000 short connections through a table of 1,000 flows (minutes)
	FLOWMONITOR_CHURN=500000 scripts/go-test.sh churn -count=1 -timeout 40m -run TestTotalsAreExactThroughATableThatIsTooSmall ./test

.PHONY: test-race
test-race: setup-race ## the components' tests under the race detector
	@CGO_ENABLED=1 scripts/go-test.sh race -race -count=1 -p 2 -timeout 10m ./receiver/... ./processor/... ./internal/exphist/... ./internal/flowattr/...

.PHONY: test-kernels
test-kernels: setup-kernels ## other kernels, booted under QEMU (KERNELS="6.1-amd64 …"; UPDATE=1 writes the README's table)
	@scripts/test-kernels.sh $(if $(UPDATE),-update) $(KERNELS)

.PHONY: test-kernels-short
test-kernels-short: setup-kernels-short ## a handful of tests on the oldest kernel that has to pass
	@scripts/test-kernels.sh -short 6.1-amd64

.PHONY: test-continuity
test-continuity: build ## hundreds of kills and replacements, 10,000 namespaces: half an hour of what test-unit and test-e2e do in short
	@FLOWMONITOR_LONG=1 scripts/go-test.sh continuity -count=1 -p 1 -timeout 60m \
		-run 'Killed|Replacements|Namespaces' ./bpf ./test

.PHONY: soak
soak: setup-test build ## SOAK=1h of mixed load through examples/gateway with one fault after the other, into docs/soak.md; test-e2e has 36 s of it
	FLOWMONITOR_SOAK=$(or $(SOAK),1h) FLOWMONITOR_SOAK_INTO=$(CURDIR)/docs/soak.md scripts/go-test.sh soak -count=1 -timeout 0 ./test/soak

.PHONY: sizing
sizing: setup-test build ## what gateways and the verdict stage take at known rates, into docs/sizing.md (25 minutes, on a quiet machine)
	FLOWMONITOR_SIZING_INTO=$(CURDIR)/docs/sizing.md scripts/go-test.sh sizing -count=1 -timeout 60m ./test/sizing

.PHONY: test-scripts
test-scripts: ## the tests of the scripts themselves
	@for test in scripts/*_test.sh; do $$test; done

.PHONY: eval-nhi
eval-nhi: ## how often the verdicts of nhi are right, into docs/health-accuracy.md; TRACE=dir scores a trace, SCALE=3 plays a third
	go run ./processor/nhiprocessor/internal/accuracy/evalnhi $(if $(TRACE),-trace $(TRACE),-table -scale $(or $(SCALE),1) -into docs/health-accuracy.md)

.PHONY: eval-nhi-lab
eval-nhi-lab: setup-test build ## the same on real packets, every scenario RUNS=10 times, into docs/health-accuracy.md (35 minutes, on a quiet machine)
	FLOWMONITOR_HEALTH_RUNS=$(or $(RUNS),10) FLOWMONITOR_HEALTH_INTO=$(CURDIR)/docs/health-accuracy.md \
		scripts/go-test.sh eval-nhi-lab -count=1 -timeout 90m ./test/health

.PHONY: bench
bench: bench-go bench-kernel ## all benchmarks

.PHONY: bench-go
bench-go: bench-k8sattributes ## the packages' own benchmarks (BENCHTIME=1s)
	go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $(UNIT_PACKAGES)

# A module of its own: see test/k8sattributes/go.mod.
.PHONY: bench-k8sattributes
bench-k8sattributes: ## flowmonitor beside contrib's k8sattributes processor
	go -C test/k8sattributes test -run '^$$' -bench . -benchtime $(BENCHTIME) .

# Targets that are not reached fail it, after the document has the figures.
.PHONY: bench-kernel
bench-kernel: setup-test build ## what sockops costs, into docs/benchmarks.md (20 minutes; BENCH=share,bulk,… for some)
	status=0; go run ./test/bench -json out/bench.json -run "$(BENCH)" || status=$$?; \
	go run ./test/bench -render out/bench.json $(if $(BENCH),,-into docs/benchmarks.md); exit $$status

.PHONY: bench-short
bench-short: build ## each benchmark once, to see that it still runs
	@mkdir -p out
	@go test -run '^$$' -bench . -benchtime 1x $(UNIT_PACKAGES) 2>&1 | tee out/bench.log | grep -E '^(Benchmark|FAIL|panic:|---)'
	@go -C test/k8sattributes test -run '^$$' -bench . -benchtime 1x . | grep -E '^(Benchmark|FAIL|panic:|---)'
	@go run ./test/bench -short -json out/bench-short.json

.PHONY: fuzz
fuzz: ## every fuzz test (FUZZTIME=1m each)
	scripts/fuzz.sh $(FUZZTIME)

.PHONY: fuzz-short
fuzz-short: ## every fuzz test on two thousand inputs
	@scripts/fuzz.sh 2000x # a number, not a time: at its end go test -fuzz now and then reports a deadline as a failure

## Checks

.PHONY: lint
lint: ## go vet, go mod tidy, gofmt, licence lines, shell syntax
	@scripts/lint.sh

.PHONY: check-versions
check-versions: ## no collector module drifts from the pinned set
	@scripts/check-versions.sh

.PHONY: validate-examples
validate-examples: build ## the collector takes every configuration in examples/; no YAML file is without a check
	@scripts/check-examples.sh $(BINARY)

.PHONY: check-generated
check-generated: ## committed generated files are what make generate writes
	@scripts/check-generated.sh

.PHONY: check-embed
check-embed: ## somebody else's collector builds with the components (examples/embed)
	@scripts/check-embed.sh

.PHONY: check-reproducible
check-reproducible: ## two builds are byte-identical
	@scripts/check-reproducible.sh $(BINARY)
	@scripts/check-reproducible.sh $(BINARY)-agent

.PHONY: check-reproducible-cold
check-reproducible-cold: ## the same, the second one with an empty build cache (minutes)
	@scripts/check-reproducible.sh --cold $(BINARY)

## Maintenance

.PHONY: generate
generate: generate-bpf generate-code generate-dist ## make all generated files again

.PHONY: generate-bpf
generate-bpf: setup-generate ## the eBPF objects and their loaders (installs the pinned clang)
	go generate ./bpf/...

.PHONY: generate-code
generate-code: ## mdatagen's output and the tables of the READMEs
	go generate $(GENERATED_PACKAGES)

.PHONY: generate-dist
generate-dist: ## the collector's sources, go.mod and go.sum, with ocb
	go tool -modfile=tools/go.mod builder --config builder-config.yaml --skip-compilation
	go tool -modfile=tools/go.mod builder --config builder-config-agent.yaml --skip-compilation
	scripts/check-embed.sh --update

.PHONY: tidy
tidy: ## go.mod and go.sum of the module and of the tools
	go mod tidy
	go -C tools mod tidy
	go -C tools/deploy mod tidy
	go -C test/k8sattributes mod tidy
	go -C tools/packages mod tidy
	go -C test/kafkabroker mod tidy
	@scripts/check-versions.sh go.mod
