# Weft's commands for people and for CI. `make help` lists them.

GO       ?= go
# How long `make fuzz` runs each fuzz test, and which packages it takes.
FUZZTIME ?= 10m
FUZZPKGS ?= ./...
# How long `make differential` runs.
DIFFTIME ?= 30m
# Plugins are the folders that have a manifest.
PLUGINS  := $(patsubst %/plugin.yaml,%,$(wildcard plugins/*/plugin.yaml))
# Tests run in their package's folder: the path has to be absolute.
ifneq ($(WEFT_VECTORS),)
export WEFT_VECTORS := $(abspath $(WEFT_VECTORS))
endif

# Extism, which Weft is held against, is a dependency of this module only.
EXTISM   := runtime/sandbox/testdata/extism

.DEFAULT_GOAL := help
.PHONY: help build plugins run shop test check bench bars fuzz differential deps clean

help: ## lists these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

build: ## compiles bin/weft
	$(GO) build -o bin/weft ./runtime/cmd/weft

plugins: build ## compiles every plugin of plugins/ to WebAssembly
	@set -e; for dir in $(PLUGINS); do bin/weft plugin build "$$dir"; done

run: plugins ## builds all and serves pipeline.yaml
	bin/weft serve -c pipeline.yaml

shop: plugins ## builds all and serves examples/shop, with a fake WeChat
	$(GO) build -o bin/shop-wechat ./examples/shop/wechat
	node examples/shop/start.js

test: deps plugins ## runs the cases, and every test with the race detector, long ones shortened
	bin/weft test
	bin/weft test examples/sample.cases.yaml
	@set -e; for file in examples/*/pipeline.yaml; do echo "bin/weft test -c $$file"; bin/weft test -c "$$file"; done
	.ci/search $(GO) test -race -timeout 25m ./...

check: ## format, vet and lint, tests included
	@unformatted="$$($(GO) tool gofumpt -l .)"; \
	if [ -n "$$unformatted" ]; then printf 'not formatted, run `go tool gofumpt -w .`:\n%s\n' "$$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	@cd $(EXTISM) && if GOPROXY=off $(GO) list -deps -test ./... >/dev/null 2>&1; then \
		echo "$(GO) vet $(EXTISM)"; $(GO) vet ./...; \
	else echo "$(EXTISM) is not vetted: its modules come with 'make bench'"; fi
	$(GO) tool staticcheck ./...
	$(GO) mod tidy -diff

bench: deps plugins ## runs the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m ./...
	cd $(EXTISM) && $(GO) test -run '^$$' -bench . ./...

bars: deps plugins ## runs the tests in full, those over 20 s too
	WEFT_BARS=1 $(GO) test -p 1 -count 1 -timeout 120m ./...
	cd $(EXTISM) && WEFT_BARS=1 $(GO) test -count 1 -v ./...

fuzz: ## runs each fuzz test for FUZZTIME
	@set -e; for pkg in $$($(GO) list $(FUZZPKGS)); do \
		for fuzz in $$($(GO) test -list '^Fuzz' "$$pkg" | grep '^Fuzz' || true); do \
			echo "$$pkg $$fuzz"; \
			$(GO) test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$pkg"; \
		done; \
	done

differential: ## compares random modules as they are with bounded ones, for DIFFTIME
	$(GO) test -run '^$$' -fuzz '^FuzzDifferential$$' -fuzztime $(DIFFTIME) -fuzzminimizetime 20x -timeout 0 ./runtime/sandbox/fuel

deps: ## installs what the tests call, where it is missing (Debian, Ubuntu)
	@.ci/deps

clean: ## removes what was built, and the sample's data
	rm -rf bin data
	rm -f plugins/*/*.wasm
