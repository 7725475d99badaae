"""The code of pages of the documentation, run from top to bottom in an empty folder."""

import re
import textwrap
from pathlib import Path

import joblib
import pytest
from numpy.testing import assert_array_equal
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


def test_trained_filters_for_other_classes(monkeypatch, capsys):
    monkeypatch.setenv("SKCNN_FAST", "0")
    scope = {}
    run_page("choosing.rst", scope)
    first, second = scope["first"], scope["second"]
    assert_array_equal(second.filters_, first.filters_)
    assert_array_equal(second.filter_intercept_, first.filter_intercept_)
    assert_array_equal(second.classes_, range(5, 10))
    X, y = scope["X"][~scope["old"]], scope["y"][~scope["old"]]
    assert second.score(X[50:], y[50:]) > 0.85
    filters = first.filters_.copy()
    second.set_params(freeze=None, eta=0.001).fit(X[:50], y[:50])
    assert_array_equal(first.filters_, filters)
    assert (second.filters_ != filters).any()


def test_the_tutorial(tmp_path, monkeypatch, capsys):
    for module in ("PIL", "onnx", "onnxruntime", "rich", "skops"):
        pytest.importorskip(module)
    pytest.importorskip("matplotlib").use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKCNN_FAST", "0")
    scope = {}
    plt.close("all")
    run_page("tutorial.rst", scope)
    assert len(plt.get_fignums()) == 3
    plt.close("all")
    assert scope["model"].score(scope["X_test"], scope["y_test"]) > 0.95
    assert "accuracy on pictures not seen" in capsys.readouterr().out
