# Everything that people and CI run. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help rust run wasm test collector e2e e2e-istio e2e-compose page pictures compose-up compose-down deployment readers soak release licences check fresh-machine bench bench-v8 bench-chains fuzz golden clean

# Recorded streams of providers are no part of the project; where there are none, the tests that replay them say so.
export WEIR_CORPUS ?= $(CURDIR)/../shared/corpus

# Small inputs after public reports, and attacks: no part of the project either.
export WEIR_CASES ?= $(CURDIR)/../shared/cases

# Schemas of Istio's and Envoy Gateway's resources: without them the manifests are not held against them.
export WEIR_CRDS ?= $(CURDIR)/../shared/crds

HARNESS := PYTHONPATH=$(CURDIR)/envoy python3 -m harness

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

rust: # What rust-toolchain.toml asks for and is missing: every target that calls cargo needs this one.
	@$(HARNESS) rust

run: ## Builds all, starts all, shows six exchanges, stays until Ctrl-C (ONCE=1: ends by itself, fails if an outcome is wrong)
	@$(HARNESS) run

wasm: ## Builds the filter: target/weir.wasm
	@$(HARNESS) wasm

collector: ## Builds the collector: target/release/weir
	@$(HARNESS) collector

test: rust wasm ## Runs every test: Rust, the module in an emulated host, the engine in Node, client libraries as readers, then all through a real Envoy
	@$(HARNESS) wasm weir-test-plugin
	cargo test --workspace
	tests/browser/run
	cd envoy/examples/custom-policy && cargo test --target-dir $(CURDIR)/target
	@$(MAKE) --no-print-directory deployment
	@$(MAKE) --no-print-directory e2e
	@$(HARNESS) soak --seconds 40
	@$(HARNESS) page
	@$(HARNESS) readers --strict

page: ## Runs the tests of the activity page in a browser (WEIR_TEST_SCREENSHOTS=<folder> keeps pictures)
	@$(HARNESS) page $(ARGS)

pictures: ## Takes the pictures of collector/README.md anew: the tests of the activity page leave them
	WEIR_TEST_SCREENSHOTS=$(CURDIR)/collector/pictures $(HARNESS) page

e2e: ## Runs the end-to-end tests (ARGS="-k judge -x" goes to pytest)
	@$(HARNESS) e2e $(ARGS)

e2e-istio: ## Runs end-to-end tests with what Istio makes of the manifests in envoy/istio
	@$(HARNESS) e2e-istio $(ARGS)

e2e-compose: ## Runs the containers of envoy/docker-compose.yaml, tests and faults against them, and takes them down (needs Docker)
	@$(HARNESS) e2e-compose $(ARGS)

compose-up: wasm collector ## Starts the containers with demo traffic, and leaves them running
	@$(HARNESS) compose-up

compose-down: ## Ends them
	@$(HARNESS) compose-down

deployment: ## Checks what deploys Weir: manifests, chart, configurations, rules (ARGS goes to pytest)
	@$(HARNESS) deployment $(ARGS)

readers: ## Feeds real client libraries with what Weir lets through (ARGS="--mutations 20000 --seed 7" searches longer)
	@$(HARNESS) readers $(ARGS)

soak: ## Plays a mixed load with faults at random for ten minutes (ARGS="--seconds 60 --seed 7")
	@$(HARNESS) soak $(ARGS)

check: rust ## Formatting, lints and documentation, all warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@$(HARNESS) lint
	@$(HARNESS) setup-check

fresh-machine: ## Runs `make check test` in a fresh clone, with nothing of Rust but rustup (ARGS="make fuzz" runs that instead)
	tests/fresh-machine --clone $(if $(ARGS),$(ARGS),make check test)

bench: rust bench-v8 ## Measures Weir beside a reading filter in V8 and in Envoy, then the engine alone and the collector (ARGS="--repeats 1")
	@$(HARNESS) envoy
	cargo build --release --package weir-bench-load
	python3 benches/run.py $(ARGS)
	cargo run --profile wasm --package weir-bench-engine
	@$(HARNESS) collector
	cargo run --release --package weir-bench-collector

bench-chains: rust wasm ## Measures policies that are switched on, with 1 to 2,000 streams at once (ARGS="--litellm FILE" measures another gateway beside)
	@$(HARNESS) envoy
	@$(HARNESS) wasm weir-bench-reader
	cargo build --release --package weir-bench-load
	python3 benches/chains.py $(ARGS)

bench-v8: rust wasm ## The part of `make bench` that a busy machine does not disturb: the module in Node, without Envoy
	@$(HARNESS) wasm weir-bench-reader
	node benches/v8/run.mjs
	node benches/v8/once.mjs

fuzz: ## Fuzzes each target for a minute (ARGS="-runs=10000 -seed=1" goes to libFuzzer instead)
	@fuzz/run $(ARGS)

release: rust ## Leaves what is given away in target/release-artifacts: module, binary, images, chart, checksums, bills of materials
	@$(HARNESS) release

licences: rust ## Holds licences, sources and bans against deny.toml (ARGS=advisories: known faults, needs the network)
	@$(HARNESS) licences $(ARGS)

golden: rust ## Writes the files anew that list the blocks of each stream (tests/golden): look at the changes
	WEIR_RENEW_GOLDEN=1 cargo test --package weir --test golden

clean: ## Removes what was built and downloaded
	rm -rf target .tools tests/e2e/*/node_modules tests/readers/javascript/node_modules
