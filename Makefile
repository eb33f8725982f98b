# Plumbline. `make help` lists what there is.
SHELL       := /usr/bin/env bash
GO          ?= go
BIN         := bin
TOOLS       := .cache/bin
GOLANGCI    := $(TOOLS)/golangci-lint
GOLANGCI_V  := v2.15.0
PKGS        ?= ./...
FUZZTIME    ?= 30s
COUNT       ?= 1
CONFIG      ?=
ARGS        ?=
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help
.PHONY: help setup build build-server demo run test test-race test-short lint fuzz properties bench bench-micro bench-queries nab quality identical otel asyncapi judges clients faults faults-kafka soak monitoring deploy release golden docs check clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: build ## get the embedded ClickHouse engine (once, ~180 MB, into the user's cache)
	@$(BIN)/plumbline setup

build: ## build bin/plumbline
	@mkdir -p $(BIN)
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/plumbline ./cmd/plumbline

build-server: ## build bin/plumbline-server: static, without the embedded stack, for Kafka and ClickHouse of your own
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO) build -tags noembedded -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/plumbline-server ./cmd/plumbline

demo: setup ## set everything up and see it at work: a fleet, attacks, live alerts (ARGS='--seed 7')
	@$(BIN)/plumbline demo $(ARGS)

run: setup ## run the service on the embedded stack (CONFIG=file for another)
	@$(BIN)/plumbline run $(if $(CONFIG),--config $(CONFIG))

test: setup ## set everything up and run the tests
	$(GO) vet $(PKGS)
	$(GO) vet -tags noembedded $(PKGS)
	$(GO) test -timeout 20m -count=$(COUNT) $(PKGS)

test-short: ## the tests that need no engine and no minutes
	$(GO) test -short -timeout 20m -count=$(COUNT) $(PKGS)

test-race: setup ## the tests under the race detector
	@echo "not under the race detector: the benchmarks' own programs, whose parts are"
	$(GO) test -race -timeout 25m -count=$(COUNT) $$($(GO) list $(PKGS) | grep -v '/benchmarks/')

lint: $(GOLANGCI) ## golangci-lint, the import arrows included
	$(GOLANGCI) run $(PKGS)
	$(GOLANGCI) run --build-tags noembedded $(PKGS)
	$(GOLANGCI) fmt --diff

$(GOLANGCI):
	@mkdir -p $(TOOLS)
	@echo "building golangci-lint $(GOLANGCI_V), once: this takes some minutes"
	GOBIN=$(abspath $(TOOLS)) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_V)

fuzz: ## every fuzzer for FUZZTIME (30s, or a count: 5000x)
	@set -e; for pkg in $$($(GO) list $(PKGS)); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; done; done

properties: ## the detector's statistics against exact ones, policies against the plain library, other random numbers each time (COUNT=100: about ten minutes)
	PLUMBLINE_SEED=random $(GO) test -count=$(COUNT) -timeout 2h ./detector/baseline ./detector/score
	PLUMBLINE_SEED=random $(GO) test -count=$(COUNT) -timeout 2h -run 'Restored|GroupsCounts' ./detector
	PLUMBLINE_SEED=random PLUMBLINE_POLICY_REQUESTS=1000000 $(GO) test -count=1 -timeout 2h -run 'TheEngineSays|Suggested' ./pipeline/policy

bench: setup ## how fast it is, honestly: about ten minutes, into benchmarks/results (ARGS=--quick: one)
	$(GO) run ./benchmarks/throughput --out benchmarks/results $(ARGS)

bench-queries: setup ## what every documented query takes at ten million events: about twenty minutes, into benchmarks/results (ARGS='--rows 1000000')
	$(GO) run ./benchmarks/queries --out benchmarks/results $(ARGS)

bench-micro: ## the micro-benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

nab: ## the series of the Numenta Anomaly Benchmark, scored as a metric would be (DATA=its directory OUT=for results)
	$(GO) run ./benchmarks/nab --data $(DATA) --out $(OUT)

quality: ## how well it detects, on simulated fleets: budget kept, attacks found (ARGS='--seeds 10', and --out DIR for the page)
	$(GO) run ./benchmarks/quality $(ARGS)

identical: ## the same alerts and scores for GOAMD64=v1 and v3, for one thread and many, and of another commit (BASE=REV)
	@mkdir -p .cache/identical
	GOAMD64=v1 $(GO) build -trimpath -o .cache/identical/v1 ./cmd/plumbline
	GOAMD64=v3 $(GO) build -trimpath -o .cache/identical/v3 ./cmd/plumbline
	.cache/identical/v1 simulate --agents 60 --days 21 --scenario attacks --tails heavy > .cache/identical/fleet.jsonl
	set -e; for v in v1 v3; do for threads in 1 8; do \
	  GOMAXPROCS=$$threads .cache/identical/$$v replay --config deploy/tuning.yaml --input .cache/identical/fleet.jsonl \
	    --alerts .cache/identical/alerts-$$v-$$threads --scores .cache/identical/scores-$$v-$$threads; \
	  cmp .cache/identical/alerts-v1-1 .cache/identical/alerts-$$v-$$threads; \
	  cmp .cache/identical/scores-v1-1 .cache/identical/scores-$$v-$$threads; done; done
ifdef BASE
	git worktree add --detach --force .cache/identical/base $(BASE)
	cd .cache/identical/base && $(GO) build -trimpath -o ../v0 ./cmd/plumbline; status=$$?; cd ../../.. && git worktree remove --force .cache/identical/base && exit $$status
	.cache/identical/v0 replay --config deploy/tuning.yaml --input .cache/identical/fleet.jsonl --alerts .cache/identical/alerts-v0 --scores .cache/identical/scores-v0
	cmp .cache/identical/alerts-v1-1 .cache/identical/alerts-v0
	cmp .cache/identical/scores-v1-1 .cache/identical/scores-v0
endif
	@rm -r .cache/identical

faults: setup ## kill, pause and cut off the real program: nothing lost, nothing twice (ARGS='--only zombie')
	$(GO) run ./benchmarks/faults $(ARGS)

faults-kafka: setup ## the same, and the conformance suite, on a real Apache Kafka, which Maven fetches (needs java and mvn)
	pipeline/kafka/kafkatest/fetch.sh .cache/kafka
	PLUMBLINE_TEST_KAFKA=$(abspath .cache/kafka) $(GO) test -count=1 -run Apache ./pipeline/kafka
	$(GO) run ./benchmarks/faults --kafka .cache/kafka $(ARGS)

soak: setup ## the long loops: 200 kills under load, thousands of random histories (an hour and more)
	$(GO) run ./benchmarks/faults --only 'kill -9' --kills 200
	PLUMBLINE_CHAOS_RUNS=5000 $(GO) test ./pipeline -run TestWhateverHappens -timeout 2h -count=1

otel: ## the real OpenTelemetry SDK and Collector in front of the service (a module of its own)
	cd benchmarks/otel && $(GO) vet ./... && $(GO) test -count=1 ./...

monitoring: setup ## dashboards and alarms against the real service, Grafana's schema and promtool (a module of its own)
	cd deploy/prometheus/test && $(GO) vet ./... && $(GO) test -count=1 ./...
	deploy/prometheus/test/promtool.sh .cache/prometheus

deploy: setup ## what stands under deploy, held to Helm, Kubernetes' types, Compose, systemd and buildah (a module of its own)
	cd deploy/test && $(GO) vet ./... && $(GO) test -count=1 ./...

release: ## build the binaries of a release, the chart and SBOMs into dist (VERSION=v1.2.3)
	GO='$(GO)' deploy/release.sh '$(VERSION)'

asyncapi: ## validate schemas/asyncapi.yaml with the public parser, which npm fetches
	benchmarks/asyncapi/check.sh .cache/asyncapi

judges: build ## CEF alerts read by a parser that others wrote, which pip fetches (needs python3)
	benchmarks/judges/check.sh .cache/judges

clients: setup ## ClickHouse's own clients against the embedded engine; pip, npm and Maven fetch them (ARGS='python go': some)
	benchmarks/clients/check.sh .cache/clients $(ARGS)

golden: ## rewrite the golden files; read the diff before committing
	$(GO) test -short $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u) -update

docs: ## regenerate docs/configuration.md from the config types
	$(GO) test ./internal/config -run Documentation -update

check: lint test test-race ## everything that must be green before a push

clean: ## remove what was built here (the engine stays in the user's cache)
	rm -rf $(BIN) .cache dist plumbline-data plumbline-demo
