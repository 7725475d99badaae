# What a contributor runs before a commit, `make test check`, and CI after it.
# PYTHON chooses the interpreter.
PYTHON ?= python

.PHONY: test check coverage docs bench

test:
	$(PYTHON) -m pytest

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

docs:
	$(PYTHON) -m sphinx -W -b html docs docs/_build/html

bench:
	$(PYTHON) benchmarks/training.py
