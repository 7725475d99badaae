"""The documentation's tables and its list of code agree with the repository."""

import ast
import csv
import importlib
import re
import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules, resolve_name

import pytest

import skcnn
from skcnn import _nn
from skcnn._nn.layer import Layer

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_the_speeds_of_the_readme_are_those_of_the_documentation():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"<!-- speed-table -->\n(.*?)<!-- end -->", text, re.S)
    header, _, *rows = (
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()
    )
    with (DOCS / "tables" / "speed.csv").open(newline="", encoding="utf-8") as file:
        measured = {row["cell"]: row for row in csv.DictReader(file)}
    assert len(rows) == 6
    for name, *figures in rows:
        assert dict(zip(header[1:], figures)).items() <= measured[name].items()
    (sentence,) = re.findall(r"<!-- speed -->\n(.*?)<!-- end -->", text, re.S)
    with (DOCS / "tables" / "ratios.csv").open(newline="", encoding="utf-8") as file:
        ratios = [float(row["PyTorch"].split()[0]) for row in csv.DictReader(file)]
    plain, fast, deep_plain, deep_fast = ratios
    figures = [
        float(figure) for figure in re.findall(r"([\d.]+)(?= times| and [\d.]+ times)", sentence)
    ]
    assert figures == pytest.approx([fast, deep_fast, plain, deep_plain], rel=0.05)


def test_every_public_name_is_in_the_reference():
    modules = ["skcnn.datasets", "skcnn.augmentation"]
    names = [name for name in skcnn.__all__ if name[0].isupper() and not name.isupper()]
    names += [name for module in modules for name in importlib.import_module(module).__all__]
    listed = (DOCS / "api" / "index.rst").read_text(encoding="utf-8").split()
    for name in names:
        assert name in listed or f"skcnn.{name}" in listed, name


def shown_in_the_mathematics(directive):
    """The objects that a directive of the page names, those of the layers as they are."""
    text = (DOCS / "guide" / "mathematics.rst").read_text(encoding="utf-8")
    names = re.findall(rf"^\.\. {directive}:: (.+)$", text, re.M)
    assert len(names) == len({*names})
    return [resolve_name(f"skcnn.{name}") for name in names]


def test_all_code_that_the_page_of_mathematics_shows_exists():
    assert len(shown_in_the_mathematics("code-of")) > 20


def test_the_page_of_mathematics_has_the_equations_of_every_layer():
    described = shown_in_the_mathematics("docstring-of")
    assert all(".. math::" in thing.__doc__.partition("Parameters\n")[0] for thing in described)
    names = [module.name for module in iter_modules(_nn.__path__)]
    modules = [importlib.import_module(f"skcnn._nn.{name}") for name in names]
    classes = [
        cls
        for module in modules
        for cls in vars(module).values()
        if isinstance(cls, type) and cls.__module__ == module.__name__
    ]
    layers = [cls for cls in classes if issubclass(cls, Layer) and cls is not Layer]
    assert {*layers} <= {*described}
    with_equations = [thing for thing in modules + classes if ".. math::" in (thing.__doc__ or "")]
    assert {*with_equations} <= {*described}


def test_the_links_of_the_readme_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_tables_are_written_from_a_run():
    program = (
        "import sys; sys.path.insert(0, 'benchmarks'); import tables; "
        "print(tables.cells({'microseconds_a_sample': "
        "{'a': {'skcnn, NumPy': [1, 2, 3], 'C': [10.04]}, 'b': {'JAX': [0.1234]}}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    header, rows = ast.literal_eval(done.stdout)
    assert header == ["cell", "C", "JAX", "skcnn"]
    assert rows == [["a", "10.0", "", "2.00"], ["b", "", "0.123", ""]]
