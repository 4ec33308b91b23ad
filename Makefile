# What a developer and CI run. `make test` is everything; `make bench` measures and needs quiet.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: test tools format lint unit docs dependencies results bench help

# A .tar.xz or a directory with the RustSec advisory database; empty: it is fetched.
ADVISORY_DB ?=
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

help:
	@echo 'make test [ADVISORY_DB=PATH]   everything: tools, format, clippy, tests, docs, dependency checks'
	@echo 'make bench                     measure beside Postfix (messages per second, latency, CPU, memory); writes $(TARGET)/benchmarks.md'
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

unit:
	@mkdir -p $(TARGET)
	$(CARGO) test --locked 2>&1 | tee $(TARGET)/test.log

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
