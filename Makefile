# Needs Python 3.10 or newer and make; everything else goes into .venv.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
COUNT ?= 2000
SEED ?= 0
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-oldest test-backends fuzz lint coverage build-file clean

help:
	@echo "make demo        prune a convolutional net on real digits, end to end"
	@echo "make test        lint and the whole test suite"
	@echo "make venv        only make $(VENV) and install the package in it"
	@echo "make lint        ruff, without the tests"
	@echo "make test-oldest  the whole test suite on the oldest versions that are allowed"
	@echo "make coverage    prune every model of both applications (hours)"
	@echo "make test-backends  the zoo and short fits on JAX and PyTorch, installed first"
	@echo "make fuzz        $(COUNT) random models (COUNT=..., the first SEED=...)"
	@echo "make build-file  write BUILD from the imports"
	@echo "make clean       remove $(VENV) and what was written by runs"

venv: $(INSTALLED)

# The stamp is written last, so a broken installation is tried again.
$(INSTALLED): setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed: make PYTHON=python3.x"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[demo,test,plots]'
	@touch $@

demo: $(INSTALLED)
	$(BIN)/python examples/digits.py

test: lint
	$(BIN)/python -m pytest -n $(JOBS)
	@echo "make test: lint and all tests passed."

test-oldest:
	PIP_CONSTRAINT=tests/oldest.txt $(MAKE) test VENV=.venv-oldest

test-backends: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable '.[backends]'
	$(BIN)/python -m pytest tests/test_other_backends.py

fuzz: $(INSTALLED)
	$(BIN)/python tests/fuzz/run_fuzz.py --count $(COUNT) --seed $(SEED)

coverage: $(INSTALLED)
	$(BIN)/python benchmarks/coverage.py --write docs/coverage.md

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

build-file: $(INSTALLED)
	$(BIN)/python tools/update_build.py

clean:
	rm -rf $(VENV) .venv-oldest runs build .pytest_cache .ruff_cache
