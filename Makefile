# What people type.  The steps themselves are in requirements/install.sh and tests/servers.sh.
PYTHON ?= python3
JOBS ?= 2
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install run test servers lint bench clean

help: ## This list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

install: $(INSTALLED) ## Only make .venv with the locked dependencies

$(INSTALLED): pyproject.toml requirements/build.txt requirements/run.txt requirements/dev.txt requirements/install.sh
	@PYTHON='$(PYTHON)' sh requirements/install.sh
	@touch $@

run: install ## Try it: filterd between sample senders and a stand-in for Exchange (options: make run ARGS=--help)
	@$(BIN)/python -m sandbox $(ARGS)

test: install ## Linters and all tests; as root installs the real servers that some tests talk to
	@$(MAKE) --no-print-directory --jobs=2 servers lint
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(ARGS)

servers: # packages come over the network while mypy keeps a processor busy
	@sh tests/servers.sh

lint: install ## Style, types and import contracts
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check --quiet --output-format concise .
	@$(BIN)/mypy --no-error-summary
	@report=$$($(BIN)/lint-imports --no-logo) || { echo "$$report"; exit 1; }

bench: install ## Measure accuracy, throughput, latency and memory
	@$(BIN)/python -m benchmarks.run $(ARGS)

clean: ## Remove everything that was made: .venv, caches, the sandbox's state
	rm -rf .venv sandbox-state .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
