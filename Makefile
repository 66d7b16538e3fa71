# One command, `make ci`, runs all that guards this tree. `make help` lists the parts.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --warn-undefined-variables
MAKEFLAGS += --no-builtin-rules
MAKEFLAGS += --no-print-directory

# Each of these may be given on the command line.
FUZZTIME ?= 60s
SOAKTIME ?= 30m
# Which part of the list of mutations to try, as k/n. All of it takes longer than CI has; so
# CI tries a thirty-second, each commit the next one.
MUTATE_PART ?= 0/1
# The same of the fuzz targets, of which CI runs a sixth.
FUZZ_PART ?= 0/1
BENCH_SECONDS ?= 2
BENCH_REPEATS ?= 5
# The modules other than the product's: what e2e and the tools need stays out of its go.sum.
MODULES := tools e2e
# The linter takes minutes to build, so its binary is kept outside the tree, and built anew
# only for another version of it or of Go.
GOLANGCI_LINT_VERSION := $(shell awk '$$1 == "github.com/golangci/golangci-lint/v2" { print $$2 }' tools/go.mod)
CACHE := $(dir $(shell go env GOCACHE))outrigger
LINT := $(CACHE)/golangci-lint-$(GOLANGCI_LINT_VERSION)-$(shell go env GOVERSION)

.PHONY: help
help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the sidecar, as it ships, into ./outrigger
	CGO_ENABLED=0 go build -trimpath -pgo=cmd/outrigger/sidecar.pgo -o outrigger ./cmd/outrigger

.PHONY: vet
vet:
	go vet ./...
	@for m in $(MODULES); do echo "go vet, in $$m"; (cd $$m && go vet ./...); done

.PHONY: test
test: ## Run the tests, as a user of this tree would
	go test ./...

.PHONY: race
race: ## Run them with the race detector, in any order, over messages poisoned when recycled, with every stage made to panic
	go test -race -shuffle=on -tags poison,faults ./...

.PHONY: e2e
e2e: ## Run what needs the built program, or more than Go
	cd e2e && go test ./...
	cd tools && go test ./...

.PHONY: lint
lint: $(LINT) ## Run golangci-lint over all modules
	$(LINT) run ./...
	@for m in $(MODULES); do echo "golangci-lint, in $$m"; (cd $$m && $(LINT) run ./...); done

.PHONY: fmt
fmt: $(LINT) ## Format all modules, with gofumpt and gci
	$(LINT) fmt ./...
	@for m in $(MODULES); do (cd $$m && $(LINT) fmt ./...); done

$(LINT):
	@echo "building golangci-lint $(GOLANGCI_LINT_VERSION) from source: some minutes, once"
	@mkdir -p $(CACHE)
	cd tools && go build -o $(LINT).new github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	@mv $(LINT).new $(LINT)

.PHONY: tidy
tidy: ## Check that go.mod and go.sum say what is used
	go mod tidy -diff
	@for m in $(MODULES); do echo "go mod tidy -diff, in $$m"; (cd $$m && go mod tidy -diff); done

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME
	@found=0; while IFS=: read -r file name; do \
		found=$$((found + 1)); test $$((found % $(notdir $(FUZZ_PART)))) -eq $(patsubst %/,%,$(dir $(FUZZ_PART))) || continue; echo "== $$name, in $$(dirname $$file), for $(FUZZTIME)"; \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)"; \
	done < <(grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's/func //' | sort); \
	test $$found -gt 0 || { echo "no fuzz target was found"; exit 1; }; echo "$$found fuzz targets, of which part $(FUZZ_PART) was run, clean"

.PHONY: mutate
mutate: ## Break each behaviour of tools/mutate/mutations.txt, and see a test turn red
	cd tools && go run ./mutate -root .. -part $(MUTATE_PART)

.PHONY: bench
bench: ## Run the benchmarks of bench.txt, and fail if one allocates more than it may
	cd tools && go run ./benchgate -root ..

.PHONY: bench-peers
bench-peers: ## Measure beside HAProxy, nginx and Go's ReverseProxy, into docs/performance.md
	BENCH_SECONDS=$(BENCH_SECONDS) BENCH_REPEATS=$(BENCH_REPEATS) e2e/bench/peers.sh

.PHONY: pgo
pgo: ## Profile the benchmarks of the data path, by which the compiler then builds the sidecar
	@mkdir -p $(CACHE)
	go test ./proxy -run '^$$' -bench Outbound -benchtime 5s -o $(CACHE)/pgo.test -cpuprofile cmd/outrigger/sidecar.pgo

.PHONY: demo
demo: ## Run the demonstration, and leave it up to be looked at
	go run ./cmd/outrigger demo

.PHONY: demo-once
demo-once: ## Run the demonstration, and fail if a request did or a count disagrees
	go run ./cmd/outrigger demo --once

.PHONY: soak
soak: ## Run the tests that take over a minute, tagged soak
	@grep -rlE --include='*_test.go' '^//go:build .*soak' . || { echo "no test is tagged soak"; exit 1; }
	go test -race -tags poison,faults,soak -run '^TestSoak' -v -timeout $(SOAKTIME) ./...
	cd e2e && go test -tags soak -run '^TestSoak' -v -timeout $(SOAKTIME) ./...

.PHONY: measure
measure: ## Print the sizes by which docs/reviews compares this tree
	cd tools && go run ./measure -skip vendor,testdata,tools,e2e -d -big 10 ..

# What CI runs, in its order: the quick and telling first. race repeats test on purpose: one is
# the README's command, and the other finds what it cannot.
CI := build vet tidy test lint race mutate bench fuzz e2e demo-once

.PHONY: ci
ci: ## Run all that guards this tree, as CI does
	@$(MAKE) $(LINT) > >(sed 's/^/  (beside) /') 2>&1 & lint=$$!; \
	trap 'kill $$lint 2>/dev/null || true' EXIT; \
	start=$$SECONDS; took=""; n=$$(git rev-list --count HEAD 2>/dev/null || echo 0); \
	for step in $(CI); do \
		if test $$step = lint; then wait $$lint; fi; \
		echo "=== $$step"; since=$$SECONDS; \
		$(MAKE) $$step FUZZTIME=1000x MUTATE_PART=$$((n % 32))/32 FUZZ_PART=$$((n % 6))/6 || { echo "=== $$step FAILED"; exit 1; }; \
		took+="$$(printf '%6d s  %s' $$((SECONDS - since)) $$step)"$$'\n'; \
	done; \
	echo "=== all passed"; printf '%s%6d s  in all\n' "$$took" $$((SECONDS - start))
