# One command each: `make run`, `make test`, `make demo`; `make check` is what CI runs.
PYTHON ?= python3
EXPERIMENTS ?= experiments
VENV ?= .venv
TESTERS ?= 3
ROW ?= fault_27
SOAK_SECONDS ?= 600
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test demo check lint types coverage row faults soak service readers bench clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "$(PYTHON) is too old: Python 3.10 or newer is needed (make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv is missing. On Debian or Ubuntu: sudo apt install python3-venv"; exit 1; }
	@echo "Making a virtual environment in $(VENV), once ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing what the tests need, once ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

run: $(VENV)/installed  ## watch ./experiments, or EXPERIMENTS=/data/experiments
	@mkdir -p "$(EXPERIMENTS)"
	@echo "Watching $(EXPERIMENTS) for *_completions.npy and *_full_texts.npy; Ctrl-C ends it."
	@echo "Try it from another terminal, in this directory:"
	@echo "  $(BIN)/python -c \"import numpy; numpy.save('$(EXPERIMENTS)/try_completions.npy', ['Hello', 'world'])\""
	@echo "  cat $(EXPERIMENTS)/try_completions.md"
	@exec $(BIN)/generation-sidecars "$(EXPERIMENTS)"

test: $(VENV)/installed-dev  ## run the tests (a few minutes at most)
	@$(BIN)/python -m pytest -q -n $(TESTERS)

demo: $(VENV)/installed  ## save two small generations, sweep, and show what appears
	@$(BIN)/python tests/demo.py

check: lint types coverage  ## lint, types, tests with branch coverage

lint: $(VENV)/installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	@$(BIN)/mypy

coverage: $(VENV)/installed-dev
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest -q -n $(TESTERS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --fail-under=96

row: $(VENV)/installed-dev  ## one row of docs/RELIABILITY.md, its long form too: ROW=fault_27
	@$(BIN)/python -m pytest -q -m "not service" -k $(ROW) --timeout=900

faults: $(VENV)/installed-dev  ## the long fault suites (root; FAULT_ROUNDS=10 for a night)
	@$(BIN)/python -m pytest -q -m "faults and not soak" --timeout=900 -n 2 --dist worksteal

soak: $(VENV)/installed-dev  ## ten minutes among writers and faults (root; SOAK_SECONDS=14400 for a night)
	@SOAK_SECONDS=$(SOAK_SECONDS) $(BIN)/python -m pytest -q -m soak --timeout=0

service: $(VENV)/installed-dev  ## boot a real systemd and install the service in it (root)
	@$(BIN)/python -m pytest -q -m service --timeout=900

readers: $(VENV)/installed-dev  ## have Markdown readers written in JavaScript judge the pages (npm)
	@npm ci --prefix tests/readers --no-audit --no-fund --silent
	@$(BIN)/python tests/readers/pages.py | node tests/readers/check.mjs

bench: $(VENV)/installed-dev  ## measure against what people would use instead; rewrites benchmarks/README.md
	@$(BIN)/python benchmarks/run.py --write

clean:  ## remove what make made
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
