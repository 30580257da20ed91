# The two commands of the README: make leaderboard, make test. Both set up .venv where it is missing.
PYTHON ?= python3
WORKERS ?= $(shell getconf _NPROCESSORS_ONLN)
BIN := .venv/bin
# Tests of a module or class share a process, so that what is costly is made once.
TESTS := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope

.PHONY: setup leaderboard test test-all lint gate bench reference docs

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
	$(TESTS) -m 'not long'

test-all: setup
	$(TESTS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The project's own results: see results/reference/README.md. Finished trials are not run again. All of it is about
# nine hours on two cores; REFERENCE="main flops" is the first two studies, under three hours.
REFERENCE := main flops noise regimes grid few smollm2
# Clustered together are those that are contrasted: what nobody asks about would take clusters away from them.
JOINTLY := --task text --decoder ancestral --decoder nucleus --trainer mle --trainer unlikelihood --trainer behavioral_cloning \
  --trainer sequence_match --trainer sequence_match_backspace
reference: setup
	for part in $(REFERENCE); do \
	  $(BIN)/seqmatch run reference_$$part --workers $(WORKERS) || exit 1; \
	  case $$part in \
	    main) $(BIN)/seqmatch measure results/reference_main --metric mauve $(JOINTLY) || exit 1;; \
	    smollm2) $(BIN)/seqmatch measure results/reference_smollm2 --metric mauve || exit 1;; \
	  esac; \
	  $(BIN)/seqmatch publish results/reference_$$part results/reference/$$part || exit 1; \
	done
	$(BIN)/python results/reference/contrasts.py

# The project's own quality, in five minutes: a part of a reference study is trained anew and held against what is published. A
# margin of 40 % lets through what other rounding makes of the same code (sums in another order: bounds of 5 to 17 %).
GATED := --task base --trainer mle --trainer cloning --trainer match_backspace
GATE_SEEDS := 200 201 202 203 204 205 206 207 208 209
empty :=
comma := ,
gate: setup
	rm -rf results/gate
	$(BIN)/seqmatch run reference_regimes $(GATED) --out results/gate --workers $(WORKERS) \
	  --set 'seeds=[$(subst $(empty) $(empty),$(comma),$(GATE_SEEDS))]'
	$(BIN)/seqmatch gate results/gate --baseline results/reference/regimes $(GATED) $(addprefix --seed ,$(GATE_SEEDS)) \
	  --margin kl_forward=40% --margin invalid_mass=40%

# The page of all keys, and pictures of the pages, from results/quick and results/reference.
docs: setup
	$(BIN)/python docs/study_keys.py
	$(BIN)/python docs/screenshots.py results/quick
	$(BIN)/python docs/results_figures.py

bench: setup
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/loss_memory.py
	$(BIN)/python benchmarks/mauve_score.py
	$(BIN)/python benchmarks/ngrams.py
	$(BIN)/python benchmarks/workers.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/costing.py quick --tasks language --flops-per-second 1e10
