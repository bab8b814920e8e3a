# `make demo` and `make test` each set up all that they need; a second run is quick.
#
#   make demo [TOKEN=tpm]   watch a recovery key come back for the right PIN, and only for it
#   make demo-keys [TOKEN=tpm]   watch a tenant's file survive rotations, and stay closed to another tenant
#   make demo-fleet [TOKEN=tpm]  watch three machines share a key, two parties sign for it, and a phone refuse another
#   make check              format, lint, types, import contracts, fast tests
#   make test               everything: check, and the tests on real tokens
#   make attack             the attacks on the attempt limit, on SoftHSM and swtpm
#   make hunt               the randomised tests, with other examples each time
#   make model              search every state of the commit protocol
#   make bench              the benchmark: a table, and JSON
#   make format             format, and fix what can be fixed
#   make docs               regenerate docs/cli.md, docs/openapi.json and docs/errors.md
#   make interop            install the clients of others that `make test` and `make bench` run
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
WORKERS ?= auto
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

SHELL_SCRIPTS := .ci/run $(wildcard demo/run) $(wildcard softhsm-config/*.sh packaging/*.sh)
PYTHON_SOURCES := hwkm tests $(sort $(dir $(wildcard bench/*.py demo/*.py examples/*.py)))
FAST_TESTS := $(wildcard tests/unit tests/vectors tests/model tests/fuzz tests/packaging tests/cli/test_help*.py)

# The system packages: fewer for those who only run it.
GOALS := $(or $(MAKECMDGOALS),$(.DEFAULT_GOAL))
PROFILE := $(if $(filter-out demo demo-keys demo-fleet bench venv docs lock clean,$(GOALS)),test,run)

# Stamps are keyed on what they were made from, so a second run does nothing, and a moved
# checkout, another interpreter or a new lock makes the environment anew.
LOCKS := requirements/build.txt requirements/dev.txt
ENVIRONMENT := $(VENV)/.made-from-$(shell { cat $(LOCKS); echo '$(PYTHON) $(CURDIR)'; } | sha256sum | cut -c1-16)
INSTALLED := $(VENV)/.installed-from-$(shell sha256sum pyproject.toml | cut -c1-16)

# The clients and servers of others, apart from what hwkm runs on.
INTEROP := .venv-interop
INTEROP_LOCKS := requirements/interop.txt requirements/interop-js/package.json requirements/interop-js/package-lock.json
INTEROP_ENVIRONMENT := $(INTEROP)/.made-from-$(shell { cat $(INTEROP_LOCKS); echo '$(PYTHON) $(CURDIR)'; } | sha256sum | cut -c1-16)

.PHONY: demo demo-keys demo-fleet check test attack model hunt bench docs lock clean venv interop lock-js system
.PHONY: static format-check lint types imports shell docs-check format

# --- what people call ------------------------------------------------------------------------

demo: venv
	@$(BIN)/python -m demo --token $(TOKEN)

demo-keys: venv
	@$(BIN)/python -m demo --story keys --token $(TOKEN)

demo-fleet: venv
	@$(BIN)/python -m demo --story fleet --token $(TOKEN)

check: static
	@$(PYTEST) -m "not slow" $(PYTEST_ARGS) $(FAST_TESTS)

# One pytest run, so that its summary is the last thing printed.
test: static interop
	@$(PYTEST) --require-integration $(PYTEST_ARGS) tests

model: venv
	@$(PYTEST) --require-integration $(PYTEST_ARGS) tests/model/test_spin.py

attack: venv
	@$(PYTEST) --require-integration -m attack $(PYTEST_ARGS) tests

hunt: venv
	@$(PYTEST) --hypothesis-profile=hunt $(PYTEST_ARGS) $(FAST_TESTS)

bench: venv interop
	@$(BIN)/python -m bench

format: venv
	@$(BIN)/ruff check --fix $(PYTHON_SOURCES)
	@$(BIN)/ruff format $(PYTHON_SOURCES)

clean:
	rm -rf $(VENV) $(INTEROP) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist hwkm.egg-info .vagrant
	find $(PYTHON_SOURCES) -type d -name __pycache__ -prune -exec rm -rf {} +

# --- checks without tests --------------------------------------------------------------------

static: venv
	@$(MAKE) --keep-going -j4 --output-sync=target PROFILE=$(PROFILE) format-check lint types imports shell docs-check

format-check: venv
	@$(BIN)/ruff format --quiet --check $(PYTHON_SOURCES) \
	    || { echo "check: not formatted; run: make format" >&2; exit 1; }

lint: venv
	@$(BIN)/ruff check --quiet $(PYTHON_SOURCES)

types: venv
	@$(BIN)/mypy --no-error-summary $(PYTHON_SOURCES)

imports: venv
	@$(BIN)/lint-imports --no-logo

shell: | system
	@shellcheck $(SHELL_SCRIPTS)

# --- generated documents ---------------------------------------------------------------------

# Each writes one document to standard output.
CLI_REFERENCE := $(BIN)/python -m hwkm.cli.reference
OPENAPI := $(BIN)/python -m hwkm.server.openapi
ERROR_TABLE := $(BIN)/python -m hwkm.server.error_table

define write-docs
	@$(if $(CLI_REFERENCE),$(CLI_REFERENCE) >$(1)/cli.md)
	@$(if $(OPENAPI),$(OPENAPI) >$(1)/openapi.json)
	@$(if $(ERROR_TABLE),$(ERROR_TABLE) >$(1)/errors.md)
endef

docs: venv
	$(call write-docs,docs)

docs-check: venv
	@mkdir -p $(VENV)/docs
	$(call write-docs,$(VENV)/docs)
	@for made in $$(ls $(VENV)/docs); do \
	    cmp --silent $(VENV)/docs/$$made docs/$$made \
	        || { echo "check: docs/$$made is stale; run: make docs" >&2; exit 1; }; \
	done

# --- set-up ----------------------------------------------------------------------------------

system:
	@softhsm-config/provision.sh $(PROFILE)

venv: $(INSTALLED)

$(ENVIRONMENT): | system
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

interop: $(INTEROP_ENVIRONMENT)

$(INTEROP_ENVIRONMENT): | venv
	@echo "make: installing the clients that the tests run into $(INTEROP)" >&2
	@rm -rf $(INTEROP)
	@$(PYTHON) -m venv $(INTEROP)
	@$(INTEROP)/bin/python -m pip --disable-pip-version-check --no-input install -qq \
	    --require-hashes --only-binary :all: --requirement requirements/interop.txt
	@cp requirements/interop-js/package.json requirements/interop-js/package-lock.json requirements/interop-js/.npmrc $(INTEROP)
	@cd $(INTEROP) && PATH="$$PWD/bin:$$PATH" npm ci --no-progress --loglevel=error >/dev/null
	@touch $@

# One lock for every platform and for Python 3.11 and later, without the name of any registry.
# UPGRADE=--upgrade takes the newest versions; otherwise only what the .in files changed moves.
COMPILE := $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 \
    --generate-hashes --no-header --no-annotate $(UPGRADE)

lock: venv
	$(COMPILE) requirements/dev.in --output-file requirements/dev.txt
	$(COMPILE) requirements/runtime.in --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(COMPILE) requirements/build.in --constraint requirements/dev.txt --output-file requirements/build.txt
	$(COMPILE) requirements/interop.in --output-file requirements/interop.txt

# The JavaScript packages: after a change of requirements/interop-js/package.json.
lock-js: interop
	@cd requirements/interop-js && PATH="$(CURDIR)/$(INTEROP)/bin:$$PATH" npm install --package-lock-only --no-progress
