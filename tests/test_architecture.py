"""Imports point down, libraries enter in one place, files and signatures are short."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skcnn

PACKAGE = Path(skcnn.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
FILES = sorted(PACKAGE.rglob("*.py"))

# The units of the package, lowest first. A unit is a module or a folder of modules. It imports only
# units above it in this list; the modules of a folder may import each other.
UNITS = [
    *("_typing", "_nn", "_compiled", "_engine", "_training", "_estimator"),
    *("_base", "_classifier", "_regressor", "_scaler", "_displays"),
    *("datasets", "augmentation", "onnx", "__init__"),
]

# Units that only some files import.
ONLY_IMPORTED_BY = {"_compiled": {"_engine/parallel", "_engine/predictor"}}

# Units that a program could train a network with that has no scikit-learn.
WITHOUT_SCIKIT_LEARN = {"_nn", "_compiled", "_engine", "_training"}

LIBRARIES_OF_ONE_UNIT = [
    *("PIL", "llvmlite", "matplotlib", "numba", "onnx", "pooch", "skl2onnx", "threadpoolctl"),
]

MAX_LINES = 400
MAX_ARGUMENTS = 8
# The parameters of an estimator, all by name.
EXCEPTIONS = {"_classifier.__init__": 27, "_regressor.__init__": 25}


def module_of(path):
    """The name of a module within the package, as in _engine/parallel."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def unit_of(module):
    return module.partition("/")[0]


def imports_of(path):
    """Return the modules of the package that a file imports, and the libraries."""
    modules, libraries = set(), set()
    folder = path.parent.relative_to(PACKAGE.parent).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            base = [*base, *(node.module.split(".") if node.module else [])]
            names = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for package, *parts in names:
            if package != PACKAGE.name:
                libraries.add(package)
            elif parts and parts[0] in UNITS:  # else a name that the package itself defines
                modules.add("/".join(parts))
    return modules, libraries


def test_every_file_belongs_to_a_unit():
    assert {unit_of(module_of(path)) for path in FILES} == {*UNITS}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_down(path):
    unit = unit_of(module_of(path))
    modules, libraries = imports_of(path)
    below = {*UNITS[: UNITS.index(unit)], unit}
    assert {unit_of(module) for module in modules} <= below
    if unit in WITHOUT_SCIKIT_LEARN:
        assert "sklearn" not in libraries


def test_the_units_that_need_no_scikit_learn_import_no_unit_that_does():
    for path in FILES:
        if unit_of(module_of(path)) in WITHOUT_SCIKIT_LEARN:
            modules, _ = imports_of(path)
            needed = {unit_of(module) for module in modules} - {"_typing"}
            assert needed <= WITHOUT_SCIKIT_LEARN, path


@pytest.mark.parametrize("unit", ONLY_IMPORTED_BY)
def test_a_unit_is_imported_only_where_it_is_dispatched_to(unit):
    importing = {
        module_of(path)
        for path in FILES
        if unit in map(unit_of, imports_of(path)[0]) and unit_of(module_of(path)) != unit
    }
    assert importing == ONLY_IMPORTED_BY[unit]


@pytest.mark.parametrize("library", LIBRARIES_OF_ONE_UNIT)
def test_a_library_is_imported_in_one_unit(library):
    assert len({unit_of(module_of(p)) for p in FILES if library in imports_of(p)[1]}) == 1


def n_lines_of_code(path):
    """Count the lines that are not blank, a comment, or part of a docstring."""
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


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_and_signatures_are_short(path):
    module = module_of(path)
    assert n_lines_of_code(path) <= EXCEPTIONS.get(module, MAX_LINES)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            args = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            n_arguments = sum(arg.arg not in ("self", "cls") for arg in args)
            name = f"{module}.{node.name}"
            assert n_arguments <= EXCEPTIONS.get(name, MAX_ARGUMENTS), name


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


def test_contributors_read_of_files_that_exist():
    text = CONTRIBUTING.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:skcnn|tests|docs|examples|benchmarks|\.ci)/[\w./]*)`", text)
    assert len(paths) > 10
    for path in paths:
        assert (CONTRIBUTING.parent / path).exists(), path
