# Bosun: `make` lists the targets.

CACHE  := $(CURDIR)/.cache
BIN    := $(CACHE)/bin
IMAGES := $(CACHE)/images
GO     ?= go
# What fails is run once more, unless it was a data race or more than three failed. Who passes only then is named at the end,
# and is a defect to be mended.
GOTEST := $(BIN)/gotestsum --format standard-quiet --rerun-fails=1 --rerun-fails-max-failures=3 --rerun-fails-run-root-test --rerun-fails-abort-on-data-race
# How many random histories a soak plays; or the seed of the one to play again.
SOAK   ?= 10000
SEED   ?= 0

.DEFAULT_GOAL := help
.PHONY: help build run cluster kubeadm crio cluster-down test check unit integration test-v2 soak bench tools images deps clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/bosun
	CGO_ENABLED=0 $(GO) build -tags grpcnotrace -trimpath -buildvcs=false -ldflags '-s -w' -o bin/bosun ./cmd/bosun

run: build runtime images ## run the example pod: builds all it needs, brings up a container runtime, Ctrl-C ends it
	bin/bosun up examples/nginx-log --images $(IMAGES) --runtime-dir $(BIN)

cluster: build tools images ## bring up a Kubernetes cluster with Bosun as its only node, and say how to use it
	@$(GO) build -o $(BIN)/cluster ./tests/cluster
	@$(BIN)/cluster up -dir $(CACHE)/cluster -bin $(BIN) -images $(IMAGES) -bosun bin/bosun

kubeadm: build tools images ## let kubeadm make, upgrade, renew and reset a cluster of two nodes with Bosun in the place of the kubelet
	BOSUN_TEST_LONG=1 BOSUN_TEST_BINARY=$(CURDIR)/bin/bosun $(GO) test -count 1 -v -timeout 20m ./tests/kubeadm

crio: build tools images ## run the integration tests on CRI-O instead of containerd, but for those that tests/integration/crio.skip names
	@tools/deps.sh conmon
	@tools/build.sh $(BIN) crio
	BOSUN_TEST_RUNTIME=crio $(GO) test -count 1 -timeout 40m -skip "^($$(grep -v '^#' tests/integration/crio.skip | paste -sd '|'))$$" ./tests/integration

cluster-down: ## end it, and remove all it made
	@mkdir -p $(BIN)
	@$(GO) build -o $(BIN)/cluster ./tests/cluster
	@$(BIN)/cluster down -dir $(CACHE)/cluster -bin $(BIN)

test: check histories integration ## everything: check, then the integration tests on a real containerd

check: deps checkers ## format, vet, staticcheck, both architectures, layout, unit tests with the race detector
	@files=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); if [ -n "$$files" ]; then echo "not gofmt'ed:" $$files; exit 1; fi
	$(GO) vet ./...
	$(BIN)/staticcheck ./...
	CGO_ENABLED=0 GOARCH=amd64 $(GO) build -o /dev/null ./...
	CGO_ENABLED=0 GOARCH=arm64 $(GO) build -o /dev/null ./...
	cd tools/mkimage && $(GO) vet . && $(BIN)/staticcheck . && $(GO) test .
	$(GOTEST) --packages "$$($(GO) list ./... | grep -v /tests/ | tr '\n' ' ')" -- -race -short

integration: build tools images
	$(GOTEST) --packages ./tests/... -- -p 1 -count 1 -timeout 20m

# Part of `integration`; alone, this shows what the machine says.
test-v2: tools images ## the tests on cgroup v2 alone: in a virtual machine, whatever this machine has
	$(GO) test -count 1 -v -timeout 20m ./tests/vm

.PHONY: histories
histories: ## play 300 random histories and cut every scenario at each effect, without the race detector
	$(GO) test ./internal/worker

soak: ## play random histories: SOAK=how many, SEED=only this one
	$(GO) test ./internal/worker -run Histories -timeout 0 -histories $(SOAK) -seed $(SEED)

bench: build tools images ## measure against bare CRI calls and the upstream kubelet; the variables are in tests/bench/options.go
	@tools/build.sh $(BIN) kubelet
	@$(GO) run ./tests/bench

deps: ## install the Debian packages that are missing
	@tools/deps.sh

tools: deps ## build the pinned containerd, runc, CNI plugins, registry, etcd, Kubernetes, kubeadm, staticcheck (once)
	@tools/build.sh $(BIN)

# What pods need without a cluster: Kubernetes takes many minutes to build.
.PHONY: runtime
runtime: deps
	@tools/build.sh $(BIN) containerd runc cni

.PHONY: checkers
checkers:
	@tools/build.sh $(BIN) staticcheck gotestsum

images: deps ## build the nginx, busybox, pause and testbox images (once)
	@cd tools/mkimage && $(GO) run -trimpath -buildvcs=false . -cache "$$(../cachedir.sh)" -out $(IMAGES) $(CURDIR)/images

clean: ## remove what was built in this checkout (the machine-wide cache stays)
	@[ ! -e $(CACHE)/cluster ] || $(MAKE) -s cluster-down
	rm -rf bin $(CACHE)
