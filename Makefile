.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Files of tests run side by side, each on one thread: what they measure is never asserted on.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

# The version that was tested comes first. `make setup PYTHON=/path/to/python` overrides the search.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$name" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo "$$name"; break; }; done)

.PHONY: help setup style check test demo lab clean chromium

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv with the tested versions (instant when nothing changed)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { \
		echo "No Python 3.11 or newer found. Install one, or: make setup PYTHON=/path/to/python" >&2; \
		exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON); the first time takes a few minutes."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[lab,dev]"
	@touch $@

style: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: style ## Style, types, floors and the quick tests
	$(PYTEST) -m "not slow"

# The screenshots of the browser tests stay here, to be looked at.
test: export AUTOOPT_TEST_ARTEFACTS ?= $(CURDIR)/artefacts
test: style chromium ## Everything: style, types, floors and all tests
	$(PYTEST)

chromium:
	@command -v chromium >/dev/null || { \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			apt-get update && apt-get install -y chromium; \
		else \
			echo "The browser tests need chromium on PATH; install it, for example:" \
				"sudo apt-get install chromium" >&2; \
			exit 1; \
		fi; }

demo: $(STAMP) ## Search a small CNN for five minutes, export the pick, check it
	$(BIN)/python -m autoopt demo --budget 300 --output demo-output

lab: $(STAMP) ## Open the quickstart notebook in JupyterLab
	$(BIN)/jupyter lab notebooks/quickstart.ipynb

clean: ## Remove .venv, caches, demo output and screenshots
	rm -rf $(VENV) build dist demo-output artefacts .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis
	find autoopt search_spaces tests -name __pycache__ -type d -prune -exec rm -rf {} +
