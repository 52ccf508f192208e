# Everything runs in .venv/, made here from the Python named below (3.11 or newer).
PYTHON ?= python3
VENV := .venv
# Versions of the dependencies: the pinned ones unless another file is given.
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin

.PHONY: demo test docs bench lint clean
.PRECIOUS: $(VENV)/.ready-%

demo: $(VENV)/.ready-test  ## fill a simulated sky and draw it: demo/skyfill.png
	$(BIN)/python examples/demo.py

test: $(VENV)/.ready-test  ## the test suite (some minutes)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

docs: $(VENV)/.ready-docs  ## the pages: docs/_build/index.html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build

bench: $(VENV)/.ready-test  ## speed against healpy, reproject and the textbook
	$(BIN)/python -m pytest tests/benchmarks

lint: $(VENV)/.ready-dev  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy skyfill cli

clean:
	rm -rf demo docs/_build build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("skyfill needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# One stamp for each extra of pyproject.toml; an edit of either file installs again. setuptools warns
# every editable install of a folder named like its package, which is how most are.
$(VENV)/.ready-%: pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo 'installing into $(VENV)/ ...'
	@PYTHONWARNINGS=ignore::UserWarning $(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[$*]'
	@touch $@
