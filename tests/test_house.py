"""Which module may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skcnn

HOUSE = {
    "__init__": {"_classifier", "_scaler"},
    "_images": {"contextlib", "math", "numpy"},
    "_layers": {"functools", "numpy", "scipy"},
    "_parameters": {"math", "typing", "numpy"},
    "_loops": {"typing", "warnings", "numpy", "llvmlite", "numba"},
    "_fast": {"functools", "math", "os", "sys", "warnings", "numpy", "_loops", "_parameters"},
    "_network": {"functools", "math", "numpy", "_layers", "_fast", "_parameters"},
    "_solvers": {"math", "numpy", "scipy"},
    "_availability": {"functools", "types"},
    "_weights": {"numbers", "numpy", "sklearn", "_images"},
    "_failure": {"contextlib", "functools", "operator"},
    "_holdout": {"hashlib", "numpy"},
    "_threads": {
        *("collections", "concurrent", "contextlib", "contextvars", "functools", "os"),
        *("threading", "threadpoolctl"),
    },
    "_training": {"numpy", "_layers"},
    "_classifier": {
        *("contextlib", "copy", "functools", "numbers", "warnings", "numpy", "sklearn"),
        *(
            "_availability",
            "_weights",
            "_images",
            "_layers",
            "_network",
            "_parameters",
            "_solvers",
            "_failure",
            "_holdout",
            "_threads",
            "_training",
        ),
    },
    "_scaler": {
        "copy",
        "functools",
        "numpy",
        "scipy",
        "sklearn",
        "_images",
        "_failure",
        "_weights",
    },
    "_download": {
        *("contextlib", "functools", "os", "pathlib", "queue", "shutil", "stat", "sys"),
        *("tempfile", "threading", "time", "typing", "pooch"),
    },
    "datasets": {
        *("gzip", "math", "numbers", "tarfile", "zlib", "numpy", "sklearn", "_download"),
    },
}

FILES = sorted(Path(skcnn.__file__).parent.glob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                [node.module.partition(".")[0]]
                if node.module
                else [alias.name for alias in node.names]
            )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_module_imports_what_the_house_allows(path):
    assert set(imported(path)) <= HOUSE[path.stem]


def modules_after(statement):
    program = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    return set(
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.split()
    )


def test_importing_the_package_loads_what_scikit_learn_loads_and_no_more():
    by_scikit_learn = modules_after("import sklearn.base, sklearn.preprocessing")
    assert modules_after("import skcnn") - by_scikit_learn == {"skcnn"}
