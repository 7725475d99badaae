"""Which module may import which.

``python tests/test_house.py`` draws the picture of CONTRIBUTING.md again.
"""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import skcnn

# Each module, with what it may import: only modules above it in this list, and libraries.
HOUSE = {
    "_typing": {"numpy"},
    "_images": {"contextlib", "math", "numbers", "re", "numpy"},
    "_arguments": {"numbers", "numpy", "sklearn", "_images"},
    "_documentation": set(),
    "_availability": {"sklearn"},
    "_failure": {"contextlib", "functools", "operator", "numpy", "sklearn"},
    "_saving": {"__version__"},
    "_holdout": {"hashlib", "numpy"},
    "_threads": {
        *("collections", "concurrent", "contextlib", "contextvars", "functools", "os"),
        *("threading", "threadpoolctl"),
    },
    "_weights": {"numbers", "numpy", "sklearn", "_images"},
    "_losses": {"numpy", "scipy"},
    "_arrays": {"numpy"},
    "_layout": {"itertools", "math", "typing", "numpy"},
    "_compilation": {"warnings"},
    "_loops": {"functools", "typing", "numpy", "llvmlite", "numba", "_compilation", "_layout"},
    "_layers": {"math", "numpy", "_arrays"},
    "_network": {"itertools", "math", "numpy", "_layers"},
    "_fast": {
        *("functools", "math", "os", "warnings", "numpy"),
        *("_compilation", "_layout", "_loops", "_network"),
    },
    "_objective": {
        *("functools", "threading", "numpy", "_compilation", "_fast", "_holdout", "_network"),
    },
    "_solvers": {"math", "numpy", "scipy"},
    "_training": {"numpy", "_solvers"},
    "_base": {
        *("copy", "functools", "numbers", "warnings", "numpy", "sklearn"),
        *("_arguments", "_documentation", "_failure", "_holdout", "_images", "_network"),
        *("_objective", "_saving", "_threads", "_training", "_weights"),
    },
    "_classifier": {
        *("contextlib", "numbers", "numpy", "sklearn"),
        *("_arguments", "_availability", "_base", "_failure", "_images", "_losses", "_weights"),
    },
    "_regressor": {
        *("numpy", "scipy", "sklearn"),
        *("_availability", "_base", "_failure", "_images", "_losses"),
    },
    "_scaler": {
        *("copy", "functools", "numpy", "scipy", "sklearn"),
        *("_documentation", "_failure", "_images", "_saving", "_weights"),
    },
    "_displays": {
        *("copy", "dataclasses", "math", "numpy", "sklearn", "matplotlib"),
        *("_base", "_images", "_training"),
    },
    "datasets._progress_bar": {"contextlib", "time", "rich"},
    "datasets._download": {
        *("contextlib", "functools", "os", "pathlib", "pooch", "datasets._progress_bar"),
    },
    "datasets._selection": {"importlib", "math", "numpy", "sklearn", "_arguments", "_images"},
    "datasets._cifar10": {
        *("os", "tarfile", "numpy", "_arguments", "datasets._download", "datasets._selection"),
    },
    "datasets._fashion_mnist": {
        *("gzip", "math", "os", "zlib", "numpy", "_arguments"),
        *("datasets._download", "datasets._selection"),
    },
    "datasets._image_files": {
        *("contextlib", "itertools", "math", "mmap", "os", "shutil", "tempfile", "warnings"),
        *("numpy", "sklearn", "PIL", "_arguments", "_images", "datasets._progress_bar"),
    },
    "datasets": {"datasets._cifar10", "datasets._fashion_mnist", "datasets._image_files"},
    "onnx": {
        *("math", "numpy", "onnx", "skl2onnx", "sklearn", "__version__"),
        *("_base", "_classifier", "_images", "_regressor", "_scaler"),
    },
    "augmentation": {"numbers", "numpy", "sklearn", "_documentation"},
    "__init__": {"_classifier", "_displays", "_regressor", "_saving", "_scaler"},
}
TYPES = {"collections", "typing", "_typing"}  # for annotations, which any module may have

CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
PACKAGE = Path(skcnn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def module_name(path):
    """The dotted name of a module within skcnn; that of a subpackage for its ``__init__.py``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield node.module.partition(".")[0]
                continue
            folders = path.relative_to(PACKAGE).parts[: -node.level]
            names = [node.module] if node.module else [alias.name for alias in node.names]
            yield from (".".join([*folders, name]) for name in names)


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_module_imports_what_the_house_allows(path):
    assert {*imported(path)} - TYPES == HOUSE[module_name(path)] - TYPES


def lines_of_code(path):
    """The number of lines that are not blank, a comment, or part of a docstring."""
    text = path.read_text(encoding="utf-8")
    documented = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documented.update(range(node.lineno, node.end_lineno + 1))
    lines = [line.strip() for line in text.splitlines()]
    return sum(
        number not in documented and line != "" and not line.startswith("#")
        for number, line in enumerate(lines, start=1)
    )


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_file_is_short(path):
    # numba's cache notices changes only in the file of the function that Python calls.
    limit = 700 if path.stem == "_loops" else 400
    assert lines_of_code(path) <= limit


def test_an_import_points_up_this_list_and_never_back():
    modules = list(HOUSE)
    assert sorted(modules) == sorted(map(module_name, FILES))
    for k, module in enumerate(modules):
        # skcnn/onnx.py imports the library of its name.
        assert HOUSE[module] & {*modules} - {module} <= {*modules[:k]}


@pytest.mark.parametrize(
    "library",
    [
        *("PIL", "matplotlib", "numba", "llvmlite", "onnx", "pooch", "rich", "skl2onnx"),
        "threadpoolctl",
    ],
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


def picture():
    """Each module with those that it imports, by storeys: a module stands on those below it.

    A subpackage is drawn as one module.
    """
    below = {}
    for module in HOUSE:
        name = module.partition(".")[0]
        imports = {other.partition(".")[0] for other in HOUSE[module] & {*HOUSE} - {module}}
        below[name] = sorted({*below.get(name, []), *imports} - {name})
    storey = {}
    for module in below:  # those that it imports come before it
        storey[module] = max((storey[other] + 1 for other in below[module]), default=0)
    lines = []
    for number in range(max(storey.values()), 0, -1):
        here = [module for module in below if storey[module] == number]
        lines += [*(f"{module:14}{' '.join(below[module])}" for module in here), ""]
    ground = "on the ground: " + " ".join(module for module in below if storey[module] == 0)
    lines += textwrap.wrap(ground, 90, subsequent_indent=" " * 14)
    return "\n".join(lines) + "\n"


def with_picture(text):
    """The text of CONTRIBUTING.md, with the picture of now."""
    head, _, rest = text.partition("```text\n")
    return head + "```text\n" + picture() + "```" + rest.partition("```")[2]


def test_the_picture_for_contributors_is_of_this_house():
    text = CONTRIBUTING.read_text(encoding="utf-8")
    assert text == with_picture(text)


def test_contributors_are_told_of_files_that_exist():
    text = CONTRIBUTING.read_text(encoding="utf-8").replace(picture(), "")
    paths = re.findall(r"`((?:skcnn|tests|docs|examples|benchmarks|\.ci)/[\w./]*)`", text)
    assert len(paths) > 10
    for path in paths:
        assert (CONTRIBUTING.parent / path).exists(), path


if __name__ == "__main__":
    CONTRIBUTING.write_text(with_picture(CONTRIBUTING.read_text("utf-8")), "utf-8")
