# `make help` lists what there is. `make demo` and `make test` need nothing before them but Python 3.11 or newer (and Go for the S3 server,
# Kubernetes and Helm).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable
DEMO_OUTPUT := results/demo
# Two at a time: one alone leaves a CPU idle for most of its time. The others share what a control plane or a cluster has once, one after the other.
SIDE_BY_SIDE := --numprocesses=2 --dist=worksteal tests/unit tests/process
ALONE := tests/integration tests/e2e

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test programs-in-background lint format crds bench tools clean distclean

help: ## List the targets
	@echo "Usage: make TARGET [PYTHON=python3.12]"
	@echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(VENV)/demo.stamp ## Classify real photos with a real model, and print what they show
	@$(BIN)/imagejob run -f examples/imagejob.yaml --output $(DEMO_OUTPUT)
	@echo
	@$(BIN)/imagejob show $(DEMO_OUTPUT)

test: programs-in-background lint ## Lint, and run all tests
	@failed=; for tests in "$(SIDE_BY_SIDE)" "$(ALONE)"; do \
	  echo "$(BIN)/python -m pytest $$tests"; \
	  $(BIN)/python -m pytest $$tests || failed=yes; \
	done; [ -z "$$failed" ]

# What the tests need is built beside installing, linting and the first tests, in idle time, until this make ends.
programs-in-background: | $(VENV)/created.stamp
	@$(BIN)/python -m tests.tools.programs $$PPID &

lint: $(VENV)/dev.stamp ## Check style, types, the arrows between the packages, generated files, the chart
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m imagejob_api.crdgen --check
	$(BIN)/python -m tests.tools.chart_lint

format: $(VENV)/dev.stamp ## Put the code into its form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

crds: $(VENV)/dev.stamp ## Generate crds/*.yaml, the chart's copies and the field reference from the models
	$(BIN)/python -m imagejob_api.crdgen

bench: $(VENV)/dev.stamp ## Measure, on an otherwise idle machine; one of them: make bench NAME=prefect
	$(BIN)/python -m bench $(NAME)

tools: | $(VENV)/created.stamp ## Build what the tests need besides Python into a cache outside of this folder: an S3 server, Kubernetes, Helm
	@$(BIN)/python -m tests.tools.programs

clean: ## Remove results and caches
	rm -rf results bench/out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## Remove the virtual environment too
	rm -rf $(VENV)

# The virtual environment. A stamp is newer than pyproject.toml when what it names is installed.

$(VENV)/created.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "imagejob needs Python 3.11 or newer, and $(PYTHON) is: $$($(PYTHON) --version 2>/dev/null || echo not there)"; \
	  echo "Install one, then name it, as in: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; } >&2
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/created.stamp
	@echo "Installing imagejob into $(VENV). The first time takes some minutes: torch is a download of gigabytes."
	@$(PIP_INSTALL) '.[demo]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(VENV)/created.stamp
	@echo "Installing imagejob with its tools for development into $(VENV). The first time takes some minutes: torch is a download of gigabytes."
	@$(PIP_INSTALL) '.[dev]'
	@touch $@ $(VENV)/demo.stamp

include tests/cluster/cluster.mk
