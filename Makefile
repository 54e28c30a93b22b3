# `make report` and `make test` do all set-up themselves. STUDY=name chooses a study of ablations/studies.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: moved help setup report after-crash test test-long lint docs

SHELL := /bin/bash
CORES ?= all
BIN := .venv/bin
STAMP := .venv/.installed
STUDY ?= demo
# Values of a user reach a command as they are: make expands nothing in them, and the shell reads them from variables.
override CORES := $(value CORES)
override STUDY := $(value STUDY)
export CORES STUDY
COUNT_GPUS := from mssts.core.devices import visible_gpus; print(len(visible_gpus()))
SNAKEMAKE := $(BIN)/snakemake --cores "$$CORES" --resources gpu=$$($(BIN)/python -c '$(COUNT_GPUS)')

PRINT_TARGETS := import os; from mssts.study import resolve, workflow; \
	print("Results:", *workflow.targets(resolve.load_study(os.environ["STUDY"])))

# One process per core, one thread each, and a file's tests stay together: they share what they have prepared.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The commands in .venv name its folder: where the clone was moved or copied, .venv is made again.
MOVED := $(shell made_in=$$(sed -n "1,2s|^[^/]*\(/.*\)/bin/python.*|\1|p" $(BIN)/pip 2>/dev/null); \
	[ ! -e $(STAMP) ] || [ -z "$$made_in" ] || [ "$$made_in" -ef .venv ] || echo moved)

setup: $(STAMP)  ## Create .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml workflow/setup.sh $(wildcard mssts/*/_*.c) $(MOVED)
	@$(if $(MOVED),rm -rf .venv)
	@workflow/setup.sh
	@touch $@

report: $(STAMP)  ## Run a study (STUDY=demo) and write its report, PDF and HTML
	@$(SNAKEMAKE) --config "study=$$STUDY"
	@$(BIN)/python -c '$(PRINT_TARGETS)'
	@echo "Runs: MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db"

after-crash: $(STAMP)  ## Finish a study whose driver was killed or whose machine went down
	@$(BIN)/python -m mssts stop-trainings
	@$(SNAKEMAKE) --config "study=$$STUDY" --unlock
	@$(SNAKEMAKE) --config "study=$$STUDY"

test: $(STAMP)  ## Run the fast tests, a whole small pipeline included
	$(PYTEST) -m "not long"

test-long: $(STAMP)  ## Run the tests that take minutes
	$(PYTEST) -m long

lint: $(STAMP)  ## Check style and types of Python, and style of the workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

docs: $(STAMP)  ## Build the documentation in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "Documentation: docs/_build/html/index.html"
