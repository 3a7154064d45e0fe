# Everything that people and CI run. `make help` lists it.
.DEFAULT_GOAL := help
.PHONY: help run wasm test e2e check bench fuzz golden clean

# Recorded streams of providers are no part of the project; where there are none, the tests that replay them say so.
export WEIR_CORPUS ?= $(CURDIR)/../shared/corpus

HARNESS := PYTHONPATH=$(CURDIR)/envoy python3 -m harness

help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Builds all, starts all, shows four exchanges, stays until Ctrl-C (ONCE=1: ends by itself, fails if an outcome is wrong)
	@$(HARNESS) run

wasm: ## Builds the filter: target/weir.wasm
	@$(HARNESS) wasm

test: wasm ## Runs every test: Rust, the module in an emulated host, the engine in Node, then all through a real Envoy
	cargo build --profile wasm --package weir-test-plugin --target wasm32-wasip1
	cargo test --workspace
	tests/browser/run
	cd envoy/examples/custom-policy && cargo test --target-dir $(CURDIR)/target
	@$(MAKE) --no-print-directory e2e

e2e: ## Runs the end-to-end tests (ARGS="-k judge -x" goes to pytest)
	@$(HARNESS) e2e $(ARGS)

check: ## Formatting, lints and documentation, all warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	@$(HARNESS) lint

bench: wasm ## Measures plain Envoy, a reading filter and Weir beside each other, then the engine alone (ARGS="--repeats 1")
	@$(HARNESS) envoy
	cargo build --release --package weir-bench-load
	cargo build --profile wasm --package weir-bench-reader --target wasm32-wasip1
	python3 benches/run.py $(ARGS)
	cargo run --profile wasm --package weir-bench-engine

fuzz: ## Fuzzes each target for a minute (ARGS="-runs=10000 -seed=1" goes to libFuzzer instead)
	@fuzz/run $(ARGS)

golden: ## Writes the files anew that list the blocks of each stream (tests/golden): look at the changes
	WEIR_RENEW_GOLDEN=1 cargo test --package weir --test golden

clean: ## Removes what was built and downloaded
	rm -rf target .tools tests/e2e/*/node_modules
