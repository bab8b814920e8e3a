# `make demo` and `make test` each set up all that they need; a second run is quick.
#
#   make demo [TOKEN=tpm]   watch a recovery key come back for the right PIN, and only for it
#   make check              format, lint, types, import contracts, fast tests
#   make test               everything: check, and the tests on real tokens
#   make attack             the attacks on the attempt limit, on SoftHSM and swtpm
#   make bench              the benchmark: a table, and JSON
#   make docs               regenerate docs/cli.md and docs/openapi.json
#   make lock               renew the hash-locked requirements
#   make clean              remove what was made here
#
# PYTHON=python3.12 chooses another interpreter (3.11 or later).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := check

PYTHON ?= python3
TOKEN ?= softhsm
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# Stamps are keyed on what they were made from, so a second run does nothing.
LOCKS := requirements/build.txt requirements/dev.txt
ENVIRONMENT := $(VENV)/.made-from-$(shell cat $(LOCKS) | sha256sum | cut -c1-16)
INSTALLED := $(VENV)/.installed-from-$(shell sha256sum pyproject.toml | cut -c1-16)

.PHONY: demo check test attack bench docs lock clean venv system-run system-test

# --- set-up ----------------------------------------------------------------------------------

system-run:
	@softhsm-config/provision.sh run

system-test:
	@softhsm-config/provision.sh test

venv: $(INSTALLED)

$(ENVIRONMENT): | system-run
	@command -v $(PYTHON) >/dev/null \
	    || { echo "make: no $(PYTHON) here; install Python 3.11 or later, or set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "make: hwkm needs Python 3.11 or later, and $(PYTHON) is $$($(PYTHON) -V); set PYTHON=" >&2; exit 1; }
	@echo "make: installing the locked Python packages into $(VENV)" >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install -qq --require-hashes --requirement requirements/build.txt
	@$(PIP) install -qq --require-hashes --no-build-isolation --requirement requirements/dev.txt
	@touch $@

$(INSTALLED): $(ENVIRONMENT)
	@$(PIP) install -qq --no-deps --no-build-isolation --no-index --editable .
	@rm -f $(VENV)/.installed-from-*
	@touch $@
