"""The examples run, and print what their texts say.

On real images, which takes minutes, they run in the gallery of the documentation, and here with
``pytest -m slow``, as do the few that take long in any case. The others run on the digits of
scikit-learn, in the process of the tests.
"""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent


def run(name, folder, **environment):
    """Return what an example prints in a process of its own, as a person runs it."""
    program = [sys.executable, "-W", "error", str(ROOT / "examples" / name)]
    environment = {**os.environ, "MPLBACKEND": "Agg", **environment}
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def run_here(tmp_path, monkeypatch, capsys):
    """Run an example in this process, which has imported all that it needs."""
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)

    def run_here(name):
        with joblib.parallel_config("sequential"):  # processes take longer to start
            runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
        plt.close("all")
        return capsys.readouterr().out

    return run_here


@pytest.mark.slow
def test_trouser_vs_dress(fashion_train, fashion_test, tmp_path):
    printed = run("plot_trouser_vs_dress.py", tmp_path)
    assert re.search(r"untrained +0 +1\.03 +0\.45 +1\.11 +0\.44", printed)
    assert re.search(r"full +5 +0\.07 +0\.98 +0\.12 +0\.96", printed)
    assert printed.count("test accuracy") == 3
    assert (tmp_path / "trouser_vs_dress.png").stat().st_size > 10_000


# On the digits: which of them, which figure is printed, and between which values it must be.
OFFLINE = {
    "angle_of_a_picture": ("", r"this network +(\d+\.\d+) degrees", 0, 6),
    "augmentation": ("", r"with augmentation +\d\.\d+ +(\d\.\d+)", 0.9, 1),
    "compare_logistic_regression": (" 1 and 3", r"ConvNet, 16 filters +(\d\.\d+)", 0.95, 1),
    "many_filters": ("", r"     32 +(\d\.\d+)", 0.9, 1),
    "out_of_core": ("", r"pass 3: accuracy (\d\.\d+)", 0.9, 1),
    "ten_classes": ("", r"this network, .* (\d\.\d+) in", 0.85, 1),
    "trouser_vs_dress": (" 1 and 3", r"test accuracy (\d\.\d+)", 0.9, 1),
    "two_layers": ("", r"two layers +(\d\.\d+)", 0.7, 1),
}


TAKES_LONG = {"angle_of_a_picture"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in TAKES_LONG)) for name in OFFLINE],
)
def test_without_a_network(name, tmp_path, monkeypatch, run_here):
    # An address of this machine where nobody listens stands for a network that is not there.
    for variable in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("SKCNN_DATA", str(tmp_path / "empty"))
    printed = run_here(f"plot_{name}.py")
    which, pattern, low, high = OFFLINE[name]
    first, *_ = printed.splitlines()
    assert first == (
        f"Fashion-MNIST cannot be downloaded: running on scikit-learn's digits{which}."
    )
    assert low < float(re.search(pattern, printed)[1]) < high
    assert (tmp_path / f"{name}.png").exists()


@pytest.mark.slow
def test_grid_search(tmp_path, run_here):
    printed = run_here("plot_grid_search.py")
    assert float(re.search(r"(\d\.\d+) on the test images", printed)[1]) > 0.95
    assert (tmp_path / "grid_search.png").exists()


@pytest.mark.slow
def test_compare_logistic_regression(fashion_train, tmp_path):
    printed = run("plot_compare_logistic_regression.py", tmp_path)
    accuracy = {
        name: float(figure) for name, figure in re.findall(r"^(.+?)  +(\d\.\d+)", printed, re.M)
    }
    assert accuracy["ConvNet, 16 filters"] > accuracy["LogisticRegression"]
    assert (tmp_path / "compare_logistic_regression.png").exists()


@pytest.mark.slow
def test_ten_classes(fashion_train, fashion_test, tmp_path):
    printed = run("plot_ten_classes.py", tmp_path)
    accuracy = float(re.search(r"this network, .* (0\.\d+) in", printed)[1])
    assert accuracy >= 0.912
    assert (tmp_path / "ten_classes.png").exists()


@pytest.mark.slow
def test_many_filters(fashion_train, fashion_test, tmp_path):
    printed = run("plot_many_filters.py", tmp_path)
    accuracies = [float(figure) for figure in re.findall(r"^ +\d+ +(0\.\d+)", printed, re.M)]
    assert len(accuracies) == 6
    assert accuracies[0] < 0.85 < accuracies[-1]
    assert (tmp_path / "many_filters.png").exists()


@pytest.mark.slow
def test_two_layers(fashion_train, fashion_test, tmp_path):
    printed = run("plot_two_layers.py", tmp_path)
    lines = re.findall(r"^(one layer.*|two layers) +(0\.\d+) +0\.\d+ +([\d,]+) ", printed, re.M)
    small, large, two = (float(accuracy) for _, accuracy, _ in lines)
    assert small + 0.05 < two  # at the same cost
    assert large - 0.05 < two  # at a quarter of the cost
    costs = [int(figure.replace(",", "")) for *_, figure in lines]
    assert costs[2] < costs[0] == costs[1] / 4
    assert len(re.findall(r"^ +\d+  [A-Z].* \d+$", printed, re.M)) == 8
    assert (tmp_path / "two_layers.png").exists()


def test_signals(tmp_path, run_here):
    printed = run_here("plot_signals.py")
    assert "filters of shape (1, 15, 3)" in printed
    accuracy = {
        name: float(figure) for name, figure in re.findall(r"^(.+?)  +(\d\.\d+)", printed, re.M)
    }
    assert accuracy["this network"] > 0.9
    assert accuracy["LogisticRegression"] < 0.5
    assert (tmp_path / "signals.png").exists()


@pytest.mark.slow
def test_augmentation(fashion_train, fashion_test, tmp_path):
    printed = run("plot_augmentation.py", tmp_path)
    lines = re.findall(r"^with(?:out)? augmentation +(0\.\d+|1\.0+) +(0\.\d+)", printed, re.M)
    (plain, plain_test), (changed, changed_test) = [map(float, line) for line in lines]
    assert changed < plain  # the training images are not learnt by heart
    assert changed_test > plain_test
    assert (tmp_path / "augmentation.png").exists()


@pytest.mark.slow
def test_out_of_core(fashion_train, fashion_test, tmp_path):
    printed = run("plot_out_of_core.py", tmp_path)
    held = [int(figure) for figure in re.findall(r"at most (\d+) MB", printed)]
    assert len(held) == 3
    assert max(held) < 40  # of a file of 188 MB
    assert float(re.search(r"pass 3: accuracy (0\.\d+)", printed)[1]) > 0.87
    assert (tmp_path / "out_of_core.png").exists()


def test_export_to_onnx(run_here):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    printed = run_here("export_to_onnx.py")
    assert float(re.search(r"accuracy of the pipeline: (0\.\d+)", printed)[1]) > 0.95
    assert float(re.search(r"largest difference of probabilities: (.+)", printed)[1]) < 1e-5
    assert "labels that differ: 0 of 450" in printed
    assert len(re.findall(r"an image, \d+ at a time: .* by the pipeline", printed)) == 2
    assert "    label: tensor(string), ['n']" in printed


@pytest.mark.slow
def test_grid_search_on_dask(tmp_path):
    pytest.importorskip("distributed")
    printed = run("grid_search_on_dask.py", tmp_path)
    assert printed.startswith("2 workers\n")
    accuracies = re.findall(r"accuracy (\d\.\d+)", printed)
    assert len(accuracies) == 3
    assert min(map(float, accuracies)) > 0.93


def test_convolution_by_hand(tmp_path, run_here):
    printed = run_here("plot_convolution_by_hand.py")
    differences = dict(re.findall(r"^(.+?): +(\d\.\de[+-]\d\d)$", printed, re.M))
    assert len(differences) == 5
    gradient = float(differences.pop("gradient and differences, relative"))
    assert 0 < gradient < 1e-4  # central differences are not exact
    assert max(map(float, differences.values())) < 1e-12
    assert (tmp_path / "convolution_by_hand.png").exists()


@pytest.mark.slow
def test_angle_of_a_picture(fashion_train, fashion_test, tmp_path):
    printed = run("plot_angle_of_a_picture.py", tmp_path)
    found = re.findall(r"^(.+?) +(\d+\.\d+) degrees", printed, re.M)
    errors = {name: float(figure) for name, figure in found}
    assert len(errors) == 4
    assert errors.pop("this network") <= min(errors.values()) / 2
    assert (tmp_path / "angle_of_a_picture.png").exists()


@pytest.mark.slow
def test_spectra(tmp_path, run_here):
    printed = run_here("plot_spectra.py")
    lines = re.findall(r"^ +(0\.[03]) +([\d,]+)" + 3 * r" +(0\.\d+)", printed, re.M)
    scores = {(scatter, n): [*map(float, found)] for scatter, n, *found in lines}
    assert len(scores) == 6
    assert min(score for *_, score in scores.values()) > 0.9
    plain, preprocessed, network = scores["0.3", "2,000"]
    assert network > preprocessed > plain
    assert scores["0.0", "100"][0] > scores["0.0", "100"][2]  # and so the text says
    assert scores["0.3", "100"][1] > scores["0.3", "100"][2]
    assert (tmp_path / "spectra.png").exists()


def test_signals_as_pictures(tmp_path, run_here):
    printed = run_here("plot_signals_as_pictures.py")
    accuracy = {
        name: float(figure) for name, figure in re.findall(r"^(.+?)  +(\d\.\d+)", printed, re.M)
    }
    pictures, signals, linear = accuracy.values()
    assert pictures > 0.83 > signals > 0.6
    assert linear < 0.5
    assert (tmp_path / "signals_as_pictures.png").exists()


def test_the_fields_of_the_example_are_those_of_pyts():
    image = pytest.importorskip("pyts.image")
    source = (ROOT / "examples" / "plot_signals_as_pictures.py").read_text()
    (function,) = re.findall(r"^def gramian_fields.*?(?=^\S)", source, re.M | re.S)
    scope = {"np": np}
    exec(function, scope)
    X = np.random.RandomState(0).randn(5, 20)
    expected = image.GramianAngularField(method="difference").fit_transform(X)
    np.testing.assert_allclose(scope["gramian_fields"](X), expected, atol=1e-6)


def test_the_ten_lines_of_the_readme():
    text = (ROOT / "README.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.S)
    scope = {}
    exec(program, scope)
    assert scope["model"].score(scope["X_test"], scope["y_test"]) > 0.95


def test_every_example_is_run():
    tests = Path(__file__).read_text()
    for path in (ROOT / "examples").glob("*.py"):
        assert f'"{path.name}"' in tests
