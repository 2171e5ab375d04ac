# 'make demo' and 'make test' do all their own set-up: a virtual environment in .venv with the pinned versions.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= 2

.PHONY: demo test test-slow lint format benchmark clean

# The main job on the embedded dataset: train, annotate, select, and say what the protocol concludes.
demo: $(READY)
	$(BIN)/wsol-bench select --val pseudo=ss --val pseudo=rpn --val pseudo=clip --workspace wsol_workspace

# The default tests; 'make test-slow' runs the others, which continuous integration does too.
test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-slow: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

benchmark: $(READY)
	$(BIN)/python benchmarks/evaluator.py

clean:
	rm -rf wsol_workspace .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# The stamp is renewed when the dependencies change; the package itself is installed in editable mode.
$(READY): pyproject.toml constraints.txt tests/requirements-no-deps.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps --requirement tests/requirements-no-deps.txt
	touch $(READY)
