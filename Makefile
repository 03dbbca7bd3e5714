# opmux: build, demo, test, lint, bench, fuzz. Every target installs what it
# lacks (scripts/setup) and can be run on a fresh clone.

GO       ?= go
BIN      := $(CURDIR)/bin
PROGRAMS := capture-agent apply-worker verify-worker opmux
KEEP     ?=
KAFKA    ?= embedded
# More for make bench: --short, --only tpcb,lag, --out elsewhere.md
BENCH    ?=
# Packages without the end-to-end tests, which run the built programs.
UNIT      = $(shell $(GO) list ./... | grep -v '/integration')
FUZZTIME ?= 20s
RUNS     ?= 200000
SEED     ?= 1
GOLANGCI ?= $(shell command -v golangci-lint 2>/dev/null || echo $$($(GO) env GOPATH)/bin/golangci-lint)
GOLANGCI_VERSION := v2.15.0

.PHONY: all build demo test unit integration simulation property kill memory corpus lint bench microbench fuzz clean

all: build

build: ## the four programs, in bin/
	@scripts/setup
	@mkdir -p $(BIN)
	$(GO) build -o $(BIN)/ $(addprefix ./cmd/,$(PROGRAMS))

demo: build ## the whole way on this machine; KEEP=1 stays up, KAFKA=real uses Apache Kafka
	@if [ "$(KAFKA)" = real ]; then scripts/setup all && scripts/kafka fetch >/dev/null; fi
	@$(BIN)/opmux demo --kafka $(KAFKA) $(if $(filter-out 0,$(KEEP)),--keep)

test: unit integration ## everything

unit: ## each package on its own, with the race detector
	@scripts/setup all
	$(GO) vet ./...
	$(GO) test -race -timeout 20m $(UNIT)

integration: build ## the built programs as processes, on kfake and on Apache Kafka
	@scripts/setup all
	@scripts/kafka fetch >/dev/null
	OPMUX_BIN=$(BIN) $(GO) test -count=1 -p 1 -timeout 40m ./integration/...

simulation: ## the order protocol in simulated time: RUNS interleavings, from seed SEED
	OPMUX_SIMULATION_RUNS=$(RUNS) OPMUX_SIMULATION_SEED=$(SEED) $(GO) test -count=1 -timeout 10h -v -run TestI1 ./integration/simulation

property: build ## only the random schemas and workloads, which make test runs too; OPMUX_PROPERTY_SEED and OPMUX_PROPERTY_SECONDS, see integration/property
	@scripts/setup all
	OPMUX_BIN=$(BIN) $(GO) test -count=1 -timeout 40m -v ./integration/property

kill: build ## every part killed and frozen for OPMUX_KILL_ROUNDS (1000) rounds; OPMUX_KILL_SEED, OPMUX_KILL_DIR, see docs/reliability.md
	@scripts/setup all
	OPMUX_BIN=$(BIN) OPMUX_KILL_ROUNDS=$${OPMUX_KILL_ROUNDS:-1000} $(GO) test -count=1 -timeout 6h -v -run 'TestKilled$$' ./integration/kill

memory: build ## the long form of the memory tests (1 GB, a million statements, a day of backlog): most of an hour
	@scripts/setup all
	OPMUX_MEMORY=long OPMUX_BIN=$(BIN) $(GO) test -count=1 -timeout 120m -v ./integration/memory

corpus: build ## SQL of others, directly and through the agent: OPMUX_CORPUS_REGRESS, OPMUX_CORPUS_ISOLATION name folders, see docs/reliability.md
	@scripts/setup corpus
	OPMUX_BIN=$(BIN) $(GO) test -count=1 -timeout 7h -v ./integration/corpus

lint: $(GOLANGCI)
	$(GOLANGCI) run ./...

$(GOLANGCI):
	$(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

bench: build ## opmux beside what it is compared with, on this machine alone; writes docs/benchmarks.md. BENCH="--short --only lag --out F"
	@scripts/setup bench
	@scripts/kafka fetch >/dev/null
	$(GO) run ./integration/bench $(if $(findstring --out,$(BENCH)),,--out docs/benchmarks.md) $(BENCH)

microbench: ## Go benchmarks of the hot paths
	$(GO) test -run '^$$' -bench . -benchmem $(UNIT)

fuzz: ## every fuzz target for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

clean:
	rm -rf $(BIN)
