# `make help` is the contract: a target without a ## comment is a bug.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

MODULE := github.com/keywright/keywright
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo v0.0.0-dev)
COMMIT ?= $(shell git rev-parse --verify -q HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X $(MODULE)/internal/version.Version=$(VERSION) -X $(MODULE)/internal/version.Commit=$(COMMIT)

# Where the chart keeps the custom resource definitions.
CHART_CRDS := charts/keywright/files/crds

# Everything that make generate and make manifests write.
GENERATED := api config/crd/bases config/default/install.yaml $(CHART_CRDS)

TEST_TIMEOUT ?= 20m
FUZZ_TIME ?= 60s
BENCH_FLAGS ?=

# Recipes call these with $(...), so that only the targets that need the tools or
# the control plane wait for them.
TOOLS := hack/tools/build.sh
CONTROLPLANE := hack/controlplane/build.sh

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-zA-Z0-9_-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Develop

.PHONY: generate
generate: ## Generate deepcopy methods of the API types.
	tools="$$($(TOOLS) controller-gen)"; "$$tools/controller-gen" object paths=./api/...

.PHONY: manifests
manifests: ## Generate the custom resource definitions, and config/default from the chart.
	tools="$$($(TOOLS) controller-gen)"; \
	"$$tools/controller-gen" crd:generateEmbeddedObjectMeta=false paths=./api/v1alpha1/... output:crd:artifacts:config=config/crd/bases
	mkdir -p $(CHART_CRDS)
	cp config/crd/bases/*.yaml $(CHART_CRDS)/
	hack/kustomize-from-chart.sh

.PHONY: fmt
fmt: ## Format all Go code and sort imports.
	tools="$$($(TOOLS) golangci-lint)"; "$$tools/golangci-lint" fmt

.PHONY: build
build: ## Build bin/keywright, static.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/keywright ./cmd/keywright

.PHONY: run
run: ## Start everything on a local control plane and walk through the main job; ONCE=1 ends after the walk.
	KUBEBUILDER_ASSETS="$$($(CONTROLPLANE))" ONCE='$(ONCE)' hack/run.sh

##@ Test

# Whole installations are started one after the other: they measure how soon an
# answer comes.
.PHONY: test
test: build ## All tests with the race detector, then the walk (make run ONCE=1).
	export KUBEBUILDER_ASSETS="$$($(CONTROLPLANE))" KEYWRIGHT_BIN="$(CURDIR)/bin/keywright"; \
	go test -race -shuffle=on -timeout $(TEST_TIMEOUT) ./api/... ./cmd/... ./controllers/... ./hack/... ./internal/...; \
	go test -race -shuffle=on -timeout $(TEST_TIMEOUT) -p 1 ./test/...; \
	echo 'tests: ok; now the walk'; \
	$(MAKE) run ONCE=1; \
	echo 'make test: ok'

.PHONY: test-unit
test-unit: ## Tests that need no control plane; the others say that they skip.
	env -u KUBEBUILDER_ASSETS go test -race -shuffle=on -timeout $(TEST_TIMEOUT) ./api/... ./cmd/... ./controllers/... ./internal/... ./hack/...

.PHONY: test-e2e
test-e2e: build ## User stories on a real control plane.
	KUBEBUILDER_ASSETS="$$($(CONTROLPLANE))" go test -race -count=1 -timeout $(TEST_TIMEOUT) -v ./test/e2e/...

.PHONY: fuzz
fuzz: ## Run every fuzz test for FUZZ_TIME (60s).
	for package in $$(go list ./...); do \
	  for name in $$(go test -list '^Fuzz' "$$package" | grep '^Fuzz' || true); do \
	    echo "fuzz: $$package $$name"; \
	    go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZ_TIME) "$$package"; \
	  done; \
	done

.PHONY: bench
bench: build ## Run the benchmarks; results go to docs/benchmarks.md. BENCH_FLAGS='-keys 10000'.
	KUBEBUILDER_ASSETS="$$($(CONTROLPLANE))" go run ./test/bench -out docs/benchmarks.md $(BENCH_FLAGS)

##@ Verify

.PHONY: verify
verify: verify-format verify-generated verify-tidy verify-chart verify-docs lint ## Everything that must hold before a commit, except the tests.
	@echo 'make verify: ok'

.PHONY: lint
lint: ## Run the linters, the API linter included.
	tools="$$($(TOOLS) golangci-lint)"; "$$tools/golangci-lint" run

.PHONY: verify-format
verify-format: ## Fail if make fmt would change something.
	tools="$$($(TOOLS) golangci-lint)"; "$$tools/golangci-lint" fmt --diff

.PHONY: verify-generated
verify-generated: ## Fail if generated files are stale.
	hack/verify-generated.sh $(GENERATED)

.PHONY: verify-tidy
verify-tidy: ## Fail if a go.mod or go.sum is not tidy.
	for mod in $$(git ls-files --cached --others --exclude-standard -- go.mod '*/go.mod'); do \
	  echo "tidy: $$mod"; (cd "$$(dirname "$$mod")" && GOWORK=off go mod tidy -diff); \
	done

.PHONY: verify-chart
verify-chart: ## Fail if the chart does not lint or render, or config/default does not build.
	hack/verify-chart.sh

.PHONY: verify-docs
verify-docs: ## Fail on a link in the documentation that leads nowhere.
	go run ./hack/doclinks

##@ Machinery

.PHONY: controlplane
controlplane: ## Get or build etcd, kube-apiserver, kube-controller-manager and kubectl; prints their directory.
	@$(CONTROLPLANE)

.PHONY: tools
tools: ## Build the pinned development tools; prints their directory.
	@$(TOOLS)

.PHONY: clean
clean: ## Remove build output and run data; never the cache of tools and control plane.
	rm -rf bin dist .run
