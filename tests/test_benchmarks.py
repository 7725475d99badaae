"""The benchmarks run, with the peers that there are; what they measure is not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_training(tmp_path):
    path = tmp_path / "training.json"
    printed = run("training.py", "--cells-only", "--repeats", 1, "--seconds", 1e-3, "--json", path)
    figures = json.loads(path.read_text())["microseconds_a_sample"]
    assert len(figures) == 14 + 5
    for name, cell in figures.items():
        assert "skcnn, NumPy" in cell, name
        assert all(time > 0 for times in cell.values() for time in times)
        assert name in printed


@pytest.mark.parametrize(
    "script",
    [
        "accuracy.py",
        "prediction.py",
        "memory.py",
        "scaling.py",
        "soak.py",
        "defaults.py",
        "first_tries.py",
    ],
)
def test_the_others_tell_how_to_use_them(script):
    assert "usage" in run(script, "--help")
