# What a contributor runs before a commit, `make test check`, and CI after it.
# PYTHON chooses the interpreter.
PYTHON ?= python

.PHONY: test check coverage coverage-package coverage-loops docs bench

test:
	$(PYTHON) -m pytest

check:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

# Statements and branches, by the tests that reach the most in the least time: those of the package
# as it runs, and the loops once more as Python, since compiled code cannot be measured.
MEASURED = tests/datasets $(addprefix tests/test_, augmentation.py classifier.py displays.py \
	holdout.py images.py kernels.py labels.py layers.py layout.py losses.py \
	network.py objective.py onnx.py regressor.py saving.py scaler.py solvers.py threads.py \
	$(addprefix fast.py::test_, \
	a_damaged_cache_is_told_of_and_left_out no_place_for_a_cache_is_told_of without_numba \
	a_full_disk_is_told_of the_next_call_works_where_the_warning_is_an_error it_can_be_switched_off \
	a_function_that_cannot_be_compiled_is_computed_in_arrays same_weights_in_parts_and_blocks))
SLOW = scikit_learn or memory or mapped or grid_search or ensembles or goes_down

coverage:
	$(PYTHON) -m coverage erase
	$(MAKE) coverage-package coverage-loops
	$(PYTHON) -m coverage combine -q
	$(PYTHON) -m coverage report --fail-under=98

coverage-package:
	$(PYTHON) -m coverage run -m pytest -q $(MEASURED) -k "not ($(SLOW))"

coverage-loops:
	NUMBA_DISABLE_JIT=1 $(PYTHON) -m coverage run -m pytest -q tests/test_kernels.py \
		tests/test_layout.py tests/test_fast.py -k "kernels or layout or debugger"

# All examples run, unless SKCNN_GALLERY is "quick" or "none".
docs:
	$(PYTHON) -m sphinx -W -b html docs docs/_build/html

bench:
	$(PYTHON) benchmarks/training.py
