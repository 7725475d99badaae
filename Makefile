# What a contributor runs before a commit, `make test check`, and CI after it.
# PYTHON chooses the interpreter.
PYTHON ?= python

.PHONY: test slow check coverage coverage-loops coverage-report docs bench

test:
	$(PYTHON) -m pytest -n 2

# More settings and data of what the other tests prove: some ten minutes.
slow:
	$(PYTHON) -m pytest -n 2 -m slow

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# Statements and branches: those of the package as all tests run it, and the loops once more as
# Python by the tests of the loops alone, since compiled code cannot be measured.
coverage:
	$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest -n 2 -q
	$(MAKE) coverage-loops coverage-report

coverage-loops:
	NUMBA_DISABLE_JIT=1 $(PYTHON) -m coverage run -m pytest -q tests/compiled/test_both_executors.py \
		tests/compiled/test_parameter_layout.py tests/compiled/test_plans.py -k "not arrays"

coverage-report:
	$(PYTHON) -m coverage combine -q
	$(PYTHON) -m coverage report --fail-under=98

# All examples run, unless SKCNN_GALLERY is "quick" or "none".
docs:
	$(PYTHON) -m sphinx -W -b html docs docs/_build/html

bench:
	$(PYTHON) benchmarks/training.py
