"""Which module may import which."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skcnn

# Each module, with what it may import: only modules above it in this list, and libraries.
HOUSE = {
    "_images": {"contextlib", "math", "numbers", "numpy"},
    "_documentation": set(),
    "_availability": {"functools", "types", "sklearn"},
    "_failure": {"contextlib", "functools", "operator", "numpy"},
    "_holdout": {"hashlib", "numpy"},
    "_threads": {
        *("collections", "concurrent", "contextlib", "contextvars", "functools", "os"),
        *("threading", "threadpoolctl"),
    },
    "_weights": {"numbers", "numpy", "sklearn", "_images"},
    "_losses": {"numpy", "scipy"},
    "_arrays": {"numpy"},
    "_layout": {"itertools", "math", "typing", "numpy"},
    "_loops": {"typing", "warnings", "numpy", "llvmlite", "numba", "_layout"},
    "_layers": {"math", "numpy", "_arrays"},
    "_network": {"math", "numpy", "_layers"},
    "_fast": {"functools", "math", "os", "warnings", "numpy", "_layout", "_loops", "_network"},
    "_objective": {"functools", "itertools", "numpy", "_fast", "_holdout", "_network"},
    "_solvers": {"math", "numpy", "scipy"},
    "_training": {"numpy"},
    "_base": {
        *("copy", "functools", "numbers", "warnings", "numpy", "sklearn"),
        *("_documentation", "_failure", "_holdout", "_images", "_network", "_objective"),
        *("_solvers", "_threads", "_training", "_weights"),
    },
    "_classifier": {
        *("numbers", "numpy", "sklearn"),
        *("_availability", "_base", "_failure", "_losses"),
    },
    "_regressor": {"numpy", "sklearn", "_availability", "_base", "_failure", "_losses"},
    "_scaler": {
        *("copy", "functools", "numpy", "scipy", "sklearn"),
        *("_documentation", "_failure", "_images", "_weights"),
    },
    "_displays": {
        "copy",
        "math",
        "numpy",
        "sklearn",
        "matplotlib",
        "_base",
        "_images",
        "_training",
    },
    "_progress": {"contextlib", "sys"},
    "_download": {
        *("concurrent", "contextlib", "os", "pathlib", "shutil", "stat"),
        *("tempfile", "threading", "time", "typing", "pooch", "_progress"),
    },
    "_image_files": {
        *("itertools", "math", "mmap", "numbers", "os", "reprlib", "shutil", "tempfile", "time"),
        *("warnings", "numpy", "sklearn", "PIL", "_progress"),
    },
    "datasets": {
        *("contextlib", "gzip", "importlib", "math", "numbers", "tarfile"),
        *("tomllib", "zlib", "numpy", "sklearn", "_download", "_image_files"),
    },
    "augmentation": {"numbers", "numpy", "sklearn", "_documentation"},
    "__init__": {"_classifier", "_displays", "_regressor", "_scaler"},
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


def test_an_import_points_up_this_list_and_never_back():
    modules = list(HOUSE)
    assert sorted(modules) == sorted(path.stem for path in FILES)
    for k, module in enumerate(modules):
        assert HOUSE[module] & {*modules} <= {*modules[:k]}


@pytest.mark.parametrize(
    "library", ["PIL", "matplotlib", "numba", "llvmlite", "pooch", "threadpoolctl"]
)
def test_a_library_is_imported_in_one_file(library):
    assert sum(library in imported for imported in HOUSE.values()) == 1


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
