# The whole house in a few words. `make sweep` and `make test` are all that a newcomer needs.
PYTHON ?= python3
BIN := .venv/bin
RUN ?= runs/default

INPUTS ?= 100000

# Else each of a suite's hundred processes would compile every module again.
test test-slow examples check-lowest: export PYTHONDONTWRITEBYTECODE :=

.PHONY: sweep test test-slow examples fuzz mutants check check-lowest format lint types layers stubs-fresh stubs clean

sweep: .venv/installed  ## train, split, deploy, attack and report on the embedded photographs
	$(BIN)/bench sweep-split-points --out $(RUN)

test: .venv/installed-dev  ## the fast test suite, five to twelve minutes on 2 cores
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: .venv/installed-dev  ## what takes minutes: every torchvision network, full products
	$(BIN)/pytest -m slow

examples: .venv/installed-dev  ## the commands of examples/, whole
	$(BIN)/pytest -n 2 --dist loadfile -m 'example and not slow'

fuzz: .venv/installed-fuzz  ## every reader of strangers' bytes on INPUTS inputs, coverage or structure as guide
	$(BIN)/python tests/fuzz/run.py --inputs $(INPUTS) --out runs/fuzz/summary.json

mutants: .venv/installed-mutants  ## the core broken on purpose, and what the unit tests notice; an hour, goes on where it stopped
	$(BIN)/python tests/mutants/run.py --out runs/mutants/summary.json

check: format lint types layers stubs-fresh test examples  ## what a change must pass

check-lowest: .venv-lowest/installed  ## the fast suite at the lowest versions that pyproject declares
	.venv-lowest/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

format: .venv/installed-dev
	$(BIN)/ruff format --check .

lint: .venv/installed-dev
	$(BIN)/ruff check .

types: .venv/installed-dev
	$(BIN)/mypy

layers: .venv/installed-dev
	$(BIN)/lint-imports

stubs-fresh: .venv/installed-dev
	$(BIN)/python scripts/generate_stubs.py --check

stubs: .venv/installed-dev
	$(BIN)/python scripts/generate_stubs.py

clean:
	rm -rf .venv .venv-lowest runs mutants .mypy_cache .ruff_cache .pytest_cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/installed-dev: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ .venv/installed

.venv-lowest/installed: .venv/installed-dev pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct \
	  --editable '.[dev]'
	@touch $@

.venv/installed-fuzz: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev,fuzz]'
	@touch $@ .venv/installed .venv/installed-dev

.venv/installed-mutants: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev,mutants]'
	@touch $@ .venv/installed .venv/installed-dev
