# The entry commands. `make help` lists them.
CARGO ?= cargo
SCENARIO ?= scenarios/processor-killed.yaml

.PHONY: help setup demo test bench bench-peers control clean
.DEFAULT_GOAL := help

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{ printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install the system packages that the build needs (FFmpeg, libclang); does nothing when none is missing
	@.ci/setup

demo: setup ## build, kill a third of the processors of a loaded video service, and show the verdict and the report
	$(CARGO) build --release --locked --bins
	./target/release/clip-harness run $(SCENARIO)

control: setup ## the same kill with retries and breakers switched off; must fail, with exit code 1
	$(CARGO) build --release --locked --bins
	./target/release/clip-harness run scenarios/controls/unprotected.yaml; test $$? -eq 1

test: setup ## everything `cargo test` has
	$(CARGO) test --workspace --locked

bench: setup ## benchmarks of the resilience layers, with peers in the same run
	$(CARGO) bench --workspace --locked

bench-peers: setup ## the kill and hang scenarios with HAProxy and nginx in the gateway's place, side by side (what is not installed is skipped)
	$(CARGO) build --release --locked --bins
	$(CARGO) run --release --locked -p clip-harness --example peers

clean: ## remove build output, made fixtures and reports
	$(CARGO) clean
	rm -rf reports/*/ service/target harness/target
