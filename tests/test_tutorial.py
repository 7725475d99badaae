"""The code of the tutorial of the documentation, run from top to bottom in an empty folder."""

import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

import joblib
import pytest

import skcnn

TUTORIAL = Path(__file__).parents[1] / "docs" / "guide" / "tutorial.rst"

# Words of a block, and the optional modules without which it is left out.
OPTIONAL = {
    "skops": ["skops"],
    "skcnn.onnx": ["onnx"],
    "onnxruntime": ["onnx", "onnxruntime"],
}


def blocks():
    """The code blocks of the page, each with the number of its first line."""
    text = TUTORIAL.read_text(encoding="utf-8")
    for found in re.finditer(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text, re.M):
        yield text[: found.start(1)].count("\n"), textwrap.dedent(found[1])


def is_available(block):
    """Whether there is all that a block needs."""
    if "Display" in block and not hasattr(skcnn, "FilterDisplay"):
        return False
    if "onnx" in block and not (Path(skcnn.__file__).parent / "onnx.py").exists():
        return False
    needed = {module for word in OPTIONAL if word in block for module in OPTIONAL[word]}
    return all(find_spec(module) for module in needed)


def test_the_tutorial(tmp_path, monkeypatch, capsys):
    pytest.importorskip("PIL")
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKCNN_FAST", "0")
    scope, n_run = {}, 0
    with joblib.parallel_config("sequential"):  # processes take longer to start
        for line, block in blocks():
            if is_available(block):
                # Blank lines first, so that an error names the line of the page.
                exec(compile("\n" * line + block, str(TUTORIAL), "exec"), scope)
                n_run += 1
    assert n_run >= 10
    assert scope["model"].score(scope["X_test"], scope["y_test"]) > 0.95
    assert "accuracy on pictures not seen" in capsys.readouterr().out
