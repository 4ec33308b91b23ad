# What a developer and CI run. `make test` is everything; `make bench` measures and needs quiet.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: test tools format lint unit docs dependencies results bench soak help

# A .tar.xz or a directory with the RustSec advisory database; empty: it is fetched.
ADVISORY_DB ?=
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

help:
	@echo 'make test [ADVISORY_DB=PATH]   everything: tools, format, clippy, tests, docs, dependency checks'
	@echo 'make bench                     measure beside Postfix (messages per second, latency, CPU, memory); writes $(TARGET)/benchmarks.md'
	@echo 'make soak [ROUNDS=200]         kill the release build so many times under load; KILL_SEED=N repeats a run'
	@echo 'make tools | format | lint | unit | docs | dependencies   one part of make test'

# In this order, stopping at the first failure; the test results once more at the end, where they are looked for.
test:
	@for part in tools format lint unit docs dependencies results; do $(MAKE) --no-print-directory $$part; done

tools:
	@scripts/install-tools

format:
	$(CARGO) fmt --check

lint:
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --features crash-points -- -D warnings

# All tests share one build with the feature by which tests/crashes.rs ends the program at named steps: a second one beside it would
# take as long again. The feature does nothing unless the environment names a step. tests/kills.rs runs the release build, without it.
unit:
	@mkdir -p $(TARGET)
	$(CARGO) build --locked --release
	RELEASE_BINARY='$(abspath $(TARGET))/release/outlink' $(CARGO) test --locked --features crash-points --no-fail-fast 2>&1 | tee $(TARGET)/test.log

docs:
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

dependencies:
	@ADVISORY_DB='$(ADVISORY_DB)' TARGET='$(TARGET)' scripts/check-dependencies

results:
	@grep -E '^( +Running | +Doc-tests |test result:)' $(TARGET)/test.log

bench:
	@scripts/install-postfix
	$(CARGO) build --locked --release
	$(CARGO) bench --locked --bench load
	$(CARGO) bench --locked --bench scale
	$(CARGO) bench --locked --bench listeners

soak:
	$(CARGO) build --locked --release
	RELEASE_BINARY='$(abspath $(TARGET))/release/outlink' KILL_ROUNDS=$(or $(ROUNDS),200) \
		$(CARGO) test --locked --features crash-points --test kills -- --nocapture
