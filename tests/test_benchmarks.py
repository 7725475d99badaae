"""The benchmarks run, with the peers that there are; what they measure is not looked at."""

import csv
import importlib.util
import json
import runpy
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def imported(name):
    """Return a module of the benchmarks."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    training = imported("training")
    time_cell = training.time_cell

    def time_on_few_images(cell, names, n_images, seconds, repeats):
        return time_cell(cell, names, max(32, 2 * cell.batch_size), 1e-3, repeats)

    monkeypatch.setattr(training, "time_cell", time_on_few_images)
    for name in ("FLOAT32", "DEEP"):
        monkeypatch.setattr(training, name, getattr(training, name)[:2])
    path = tmp_path / "training.json"
    options = ["--cells-only", "--repeats", "2", "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["training.py", *options])
    training.main()
    printed = capsys.readouterr().out
    figures = json.loads(path.read_text())["microseconds_a_sample"]
    cells = [training.ARTICLE, *training.FLOAT32, training.TEN_CLASSES, *training.DEEP]
    assert [*figures] == [*map(str, cells)]
    for name, cell in figures.items():
        assert "skcnn, NumPy" in cell, name
        assert all(len(times) == 2 for times in cell.values())
        assert name in printed


@pytest.mark.parametrize(
    "script",
    [
        "accuracy.py",
        "prediction.py",
        "kernels.py",
        "memory.py",
        "scaling.py",
        "soak.py",
        "defaults.py",
        "first_tries.py",
        "neighbours.py",
        "pooling.py",
    ],
)
def test_the_others_tell_how_to_use_them(script, monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    assert ended.value.code == 0
    assert f"usage: {script}" in capsys.readouterr().out


def test_pooling(tmp_path):
    path = tmp_path / "pooling.csv"
    path.write_text("header\nGunPoint,50,max\ndigits,1,max\n", encoding="utf-8")
    few = ("--samples", 20, "--epochs", 1, "--seeds", 2, "--csv", path)
    printed = run("pooling.py", "digits", *few)
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert [row[:3] for row in rows] == [
        *(["digits", "20", kind] for kind in ("max", "last average", "average")),
        ["GunPoint", "50", "max"],  # not measured this time
    ]
    assert all(len(row) == len(header) == 7 and row[3] in printed for row in rows[:3])
    with (BENCHMARKS.parent / "docs" / "tables" / "pooling.csv").open(encoding="utf-8") as file:
        assert next(csv.reader(file)) == header


@pytest.fixture
def tools():
    return imported("tools")


def table_of_tools():
    path = BENCHMARKS.parent / "docs" / "tables" / "tools.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_table_of_tools_has_a_row_for_each_case(tools):
    header, *rows = table_of_tools()
    assert header == tools.COLUMNS
    assert {row[0]: row[-1] for row in rows} == {
        name: tool.to_write for name, tool in tools.CASES.items()
    }


def test_a_case_of_the_tools_is_run_as_the_table_says():
    name = "scikit-learn, BaggingClassifier"
    (row,) = (row for row in table_of_tools() if row[0] == name)
    assert json.loads(run("neighbours.py", "tools", "--case", name)) == row[2:]


def fit_and_predict(X, y, network):
    return network.fit(X, y).predict(X)


def refuse_images(X, y, network):
    if X.ndim > 2:
        raise ValueError("images are refused")
    return fit_and_predict(X, y, network)


def test_a_case_fails_where_its_row_does_not_hold(tools):
    taken = tools.Tool("", fit_and_predict, refusal="refused", instead=fit_and_predict)
    with pytest.raises(AssertionError, match="nothing is refused any more"):
        taken.run()
    with pytest.raises(ValueError, match="images are refused"):
        tools.Tool("", refuse_images, refusal="another reason", instead=fit_and_predict).run()
    with pytest.raises(ValueError, match="images are refused"):
        tools.Tool("", refuse_images, refusal="refused", instead=refuse_images).run()
    with pytest.raises(AssertionError):
        tools.Tool("", lambda X, y, network: y[::-1]).run()
    tool = tools.Tool("", refuse_images, "rows", refusal="refused", instead=fit_and_predict)
    assert tool.run() == ["no", "no", "yes", "yes", "rows"]


# Those of full precision: what others compute depends on the processor.
RUNTIMES = {
    name: case for name, case in imported("runtimes").CASES.items() if case.tolerance <= 1e-5
}


@pytest.mark.parametrize("name", RUNTIMES)
def test_runtimes(name, monkeypatch):
    try:
        RUNTIMES[name].version()
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    pytest.importorskip("onnx")
    monkeypatch.setenv("SKCNN_FAST", "0")  # in its process nothing is compiled
    cells = json.loads(run("neighbours.py", "runtimes", "--case", name).splitlines()[-1])
    assert cells[0] == "12"
    assert float(cells[1]) <= RUNTIMES[name].tolerance
