"""The code of pages of the documentation, run from top to bottom in an empty folder."""

import re
import textwrap
from pathlib import Path

import joblib
import pytest
from sklearn import config_context

ROOT = Path(__file__).parents[1]


def run_page(name, scope):
    """Run the code blocks of a page of the guide."""
    path = ROOT / "docs" / "guide" / name
    text = path.read_text(encoding="utf-8")
    with joblib.parallel_config("sequential"):  # processes take longer to start
        for found in re.finditer(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", text, re.M):
            # Blank lines first, so that an error names the line of the page.
            line, block = text[: found.start(1)].count("\n"), textwrap.dedent(found[1])
            exec(compile("\n" * line + block, str(path), "exec"), scope)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_getting_started(monkeypatch, capsys):
    pytest.importorskip("rich")
    monkeypatch.setenv("SKCNN_FAST", "0")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (ten_lines,) = re.findall(r"<!-- ten-lines -->\n```python\n(.*?)```", readme, re.S)
    scope = {}
    exec(ten_lines, scope)
    with config_context():  # a block of the page sets an option
        run_page("getting_started.rst", scope)
    assert scope["search"].score(scope["X_test"], scope["y_test"]) > 0.9
    assert len(scope["routed"][-1].validation_loss_curve_) == scope["routed"][-1].n_iter_


def test_the_tutorial(tmp_path, monkeypatch, capsys):
    for module in ("PIL", "onnx", "onnxruntime", "rich", "skops"):
        pytest.importorskip(module)
    pytest.importorskip("matplotlib").use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKCNN_FAST", "0")
    scope = {}
    run_page("tutorial.rst", scope)
    assert len(plt.get_fignums()) == 3
    plt.close("all")
    assert scope["model"].score(scope["X_test"], scope["y_test"]) > 0.95
    assert "accuracy on pictures not seen" in capsys.readouterr().out
