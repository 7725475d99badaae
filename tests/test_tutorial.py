"""The code of the tutorial of the documentation, run from top to bottom in an empty folder."""

import re
import textwrap
from pathlib import Path

import joblib
import pytest

TUTORIAL = Path(__file__).parents[1] / "docs" / "guide" / "tutorial.rst"


def blocks():
    """The code blocks of the page, each with the number of its first line."""
    text = TUTORIAL.read_text(encoding="utf-8")
    for found in re.finditer(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text, re.M):
        yield text[: found.start(1)].count("\n"), textwrap.dedent(found[1])


def test_the_tutorial(tmp_path, monkeypatch, capsys):
    for module in ("PIL", "onnx", "onnxruntime", "rich", "skops"):
        pytest.importorskip(module)
    pytest.importorskip("matplotlib").use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKCNN_FAST", "0")
    scope = {}
    with joblib.parallel_config("sequential"):  # processes take longer to start
        for line, block in blocks():
            # Blank lines first, so that an error names the line of the page.
            exec(compile("\n" * line + block, str(TUTORIAL), "exec"), scope)
    assert len(plt.get_fignums()) == 3
    plt.close("all")
    assert scope["model"].score(scope["X_test"], scope["y_test"]) > 0.95
    assert "accuracy on pictures not seen" in capsys.readouterr().out
