# The commands of the project. `make run` and `make test` need Python 3.11 or newer, git and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt
PYTEST ?= --durations=15 --durations-min=5
PROMPT ?= a strawberry on a light blue background
# Compiled modules are kept, whatever the shell says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE =

.PHONY: run test coverage picture check bench docs clean

run: $(VENV)/server.stamp ## start the platform on 127.0.0.1:8000
	$(BIN)/keelbill serve

picture: $(VENV)/server.stamp ## one picture: make picture PROMPT="a red car"
	$(BIN)/keelbill generate "$(PROMPT)"

test: $(VENV)/dev.stamp ## the whole test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore tests/e2e $(PYTEST)
	$(BIN)/python -m pytest -n auto --maxprocesses 2 --dist loadfile tests/e2e $(PYTEST)

coverage: $(VENV)/dev.stamp ## the tests without a browser, and which lines and branches they reach
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --ignore tests/e2e --cov --cov-report=term:skip-covered

check: $(VENV)/dev.stamp ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy src tests benchmarks
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp ## ratios against a peer; minutes
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/embedded.py
	$(BIN)/python benchmarks/ledger.py
	$(BIN)/python benchmarks/gateway.py
	$(BIN)/python benchmarks/serving.py

docs: $(VENV)/dev.stamp ## write the generated reference pages
	$(BIN)/python -m keelbill.cli.reference docs/reference
	$(BIN)/python -m keelbill.api.stability.reference docs/reference/rest-api.md
	$(BIN)/python -m keelbill.graph.reference docs/reference/nodes.md
	$(BIN)/python studio/api_types.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/server.stamp: pyproject.toml requirements/constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[server,graph]"
	touch $@

$(VENV)/dev.stamp: pyproject.toml requirements/constraints.txt | $(VENV)/bin/python
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/server.stamp

clean: ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
