# Everything below sets itself up: a fresh clone needs python3 (3.11 or newer) and make. uv is used where it is installed.

PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11 python3.14,$(shell \
	$(p) -c 'import sys; print("$(p)" if sys.version_info >= (3, 11) else "")' 2>/dev/null)))
UV := $(shell command -v uv 2>/dev/null)
VENV := .venv
SAM_VENV := .venv-sam
EMULATOR_VENV := .venv-emulator
CHECKOV_VENV := .venv-checkov
BIN := $(VENV)/bin
PY := $(BIN)/python
READY := $(VENV)/.ready
SAM_READY := $(SAM_VENV)/.ready
EMULATOR_READY := $(EMULATOR_VENV)/.ready
CHECKOV_READY := $(CHECKOV_VENV)/.ready
TEMPLATE := $(wildcard template.yaml)
SYNC := env -u VIRTUAL_ENV UV_PROJECT_ENVIRONMENT=$(VENV)
EXPORT := $(BIN)/uv export --no-config --quiet --frozen --all-extras --no-hashes --no-emit-project --no-header --no-annotate
COMPILE := $(BIN)/uv pip compile --no-config --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
	--default-index https://pypi.org/simple
PYTEST_ARGS ?=
PARTS ?=
E2E_ARGS ?=
EMULATOR_PORT ?= 4566

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export SAM_CLI_TELEMETRY := 0
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help venv demo test chaos chaos-quick e2e emulator check static style types imports pins template checkov format bench \
	lock clean pip-venv

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

venv: $(READY) ## make .venv, with everything that the other targets need

demo: $(READY) ## run the digest example on the embedded backend
	@$(PY) examples/digest/demo.py

test: $(READY) ## run the tests, in random order on every core (PYTEST_ARGS="-k lease -n0" goes to pytest)
	@$(PY) -m pytest -n auto $(PYTEST_ARGS)

chaos: $(READY) ## crash and disturb everything, for some forty minutes on two cores; one table at the end (PARTS="sweep" chooses)
	@$(PY) -m tests.chaos --full $(PARTS)

chaos-quick: $(READY) ## the part of chaos that CI runs, in less than five minutes
	@$(PY) -m tests.chaos $(PARTS)

e2e: $(READY) $(SAM_READY) $(EMULATOR_READY) ## deploy to an emulator of AWS with SAM, drive the stack from outside, print a table
	@mkdir -p .aws-sam
	@$(PY) -m pytest tests/emulator -n 2 -p no:randomly --basetemp=.aws-sam/lane $(E2E_ARGS)

emulator: $(SAM_READY) $(EMULATOR_READY) ## an emulator of AWS until Ctrl-C, to try a stack on (EMULATOR_PORT=4566)
	@exec $(EMULATOR_VENV)/bin/python infra/emulator.py --port $(EMULATOR_PORT) --log-level WARNING

check: static test ## everything that must be green: style, types, imports, pins, template, tests

static: style types imports pins template ## everything in check but the tests

style: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: $(READY)
	@$(BIN)/pyright --project pyproject.toml

imports: $(READY)
	@$(BIN)/lint-imports

pins: $(READY)
	@$(BIN)/uv lock --no-config --quiet --check --offline || { echo "uv.lock is older than pyproject.toml: make lock" >&2; exit 1; }
	@$(EXPORT) | diff requirements-dev.txt - || { echo "requirements-dev.txt is not what uv.lock says: make lock" >&2; exit 1; }

ifeq ($(TEMPLATE),)
template:
else
template: $(READY) $(SAM_READY)
	@$(BIN)/cfn-lint $(TEMPLATE)
	@$(SAM_VENV)/bin/sam validate --lint --region us-east-1 --template $(TEMPLATE)
endif

checkov: $(CHECKOV_READY) ## look at the template with checkov; .checkov.yaml says what is left out, and why
	@$(CHECKOV_VENV)/bin/checkov --config-file .checkov.yaml

format: $(READY) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(READY) ## run every benchmark in tests/bench
	@for file in tests/bench/bench_*.py; do \
		test -e "$$file" || { echo "no benchmarks in tests/bench"; break; }; \
		echo "== $$file"; $(PY) "$$file"; \
	done

lock: $(READY) ## choose the newest versions: uv.lock and requirements-*.txt
	@$(BIN)/uv lock --no-config --upgrade --default-index https://pypi.org/simple
	@$(EXPORT) > requirements-dev.txt
	@echo aws-sam-cli | $(COMPILE) --output-file requirements-sam.txt -
	@printf '%s\n' aws-sam-translator boto3 'ministack>=1.5.33' | $(COMPILE) --output-file requirements-emulator.txt -
	@echo checkov | $(COMPILE) --output-file requirements-checkov.txt -

clean: ## remove what was built, the virtual environments too
	rm -rf $(VENV) $(SAM_VENV) $(EMULATOR_VENV) $(CHECKOV_VENV) build dist .aws-sam .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment of its own ($1) with what a file of pinned requirements ($2) says, by uv or else by pip.
pinned = { $(BIN)/uv venv --quiet --clear --python $(PY) $1 && $(BIN)/uv pip install --quiet --python $1 --requirement $2; } \
	|| { $(PY) -m venv --clear $1 && $1/bin/python -m pip install -qq --requirement $2; }

# The marker is touched last: a set-up that was broken off is done again from the start.
$(READY): pyproject.toml uv.lock requirements-dev.txt
ifneq ($(UV),)
	@echo "setting up $(VENV) with uv"
	@$(SYNC) $(UV) sync --quiet --frozen --all-extras
else
	@test -n "$(PYTHON)" || { echo "polos needs Python 3.11 or newer (make PYTHON=/path/to/python3 says which)" >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@{ $(PY) -m pip install -qq "$$(grep '^uv==' requirements-dev.txt)" && $(SYNC) $(BIN)/uv sync --quiet --frozen --all-extras; } \
		|| $(MAKE) pip-venv
endif
	@touch $@

# The same versions by pip alone, for machines that reach a package index of their own and not the public one.
pip-venv:
	@echo "setting up $(VENV) with pip instead (a minute or two)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install -qq --requirement requirements-dev.txt
	@$(PY) -m pip install -qq --no-deps --editable .

$(SAM_READY): requirements-sam.txt | $(READY)
	@echo "setting up $(SAM_VENV), with the SAM command line"
	@$(call pinned,$(SAM_VENV),$<)
	@touch $@

$(EMULATOR_READY): requirements-emulator.txt | $(READY)
	@echo "setting up $(EMULATOR_VENV), with an emulator of AWS"
	@$(call pinned,$(EMULATOR_VENV),$<)
	@touch $@

$(CHECKOV_READY): requirements-checkov.txt | $(READY)
	@echo "setting up $(CHECKOV_VENV), with checkov (a minute or two without uv)"
	@$(call pinned,$(CHECKOV_VENV),$<)
	@touch $@
