"""Write the figures of speed in the documentation from those of a run.

``python benchmarks/training.py --json speed.json`` measures, and ``python benchmarks/tables.py
speed.json`` writes into docs/tables all cells, the means of their ratios and the machine, and into
README.md a few cells and the ratios to PyTorch. Without a file, the README's figures are written
from those of the documentation.
"""

import argparse
import csv
import json
import textwrap
from pathlib import Path

import measure
from training import DEEP, FLOAT32, OURS

ROOT = Path(__file__).parents[1]
TABLES = ROOT / "docs" / "tables"
SPEED, RATIOS = TABLES / "speed.csv", TABLES / "ratios.csv"
README = ROOT / "README.md"
END = "<!-- end -->"

NAMES = {
    "article's loop": "SciPy, image by image",
    "skcnn, NumPy": "skcnn",
}
IN_README = [
    "F=1, batch 1, float64",
    "F=1, batch 32",
    "F=8, batch 32",
    "F=32, batch 128",
    "F=32, K=5, pool 2, ten classes, Adam, batch 64",
    "F=(32, 64), pool 2, 128 hidden units, ten classes, Adam, batch 64",
]
NOT_IN_README = ["PyTorch, channels last"]


def cells(figures):
    """Return the medians of a run of training.py as a header and rows of text."""
    times = figures["microseconds_a_sample"]
    peers = list(dict.fromkeys(peer for of_cell in times.values() for peer in of_cell))
    peers.sort(key=lambda name: name.startswith("skcnn"))  # skcnn last
    rows = [
        [cell, *(measure.median_text(of_cell.get(peer)) for peer in peers)]
        for cell, of_cell in times.items()
    ]
    return ["cell", *(NAMES.get(peer, peer) for peer in peers)], rows


def read(path):
    """Return the header and the rows of a file of comma-separated values."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def write(path, header, rows):
    """Write a header and rows as comma-separated values."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def short(header, rows):
    """Return the README's table: some cells, and the columns that have a figure in them."""
    rows = [row for row in rows if row[0] in IN_README]
    columns = [
        k
        for k, name in enumerate(header)
        if name not in NOT_IN_README and any(row[k] for row in rows)
    ]
    header, *rows = ([line[k] for k in columns] for line in [header, *rows])
    return measure.table(["", *header[1:]], rows)


def ratios(figures):
    """Return how many times as fast as its peers skcnn is, as a header and rows of text."""
    times = figures["microseconds_a_sample"]
    groups = {
        "one layer, float32": [times[str(cell)] for cell in FLOAT32],
        "deep": [times[str(cell)] for cell in DEEP],
    }
    peers = [peer for peer in groups["deep"][0] if peer not in OURS]
    header = ["networks", "skcnn", *peers]
    rows = []
    for group, of_cells in groups.items():
        for ours in OURS:
            found = [measure.mean_ratio(of_cells, peer, ours) for peer in peers]
            texts = [f"{pair[0]:.2f} ({pair[1]:.2f})" if pair else "" for pair in found]
            rows.append([f"{group}: {len(of_cells)} cells", NAMES.get(ours, ours), *texts])
    return header, rows


def sentence(header, rows):
    """Return the README's sentence about the ratios to PyTorch, given what `ratios` returns."""
    column = header.index("PyTorch")
    plain, fast, deep_plain, deep_fast = (float(row[column].partition(" ")[0]) for row in rows)
    text = (
        f"With `fast` (numba), skcnn is {fast:.3g} times as fast as PyTorch in the geometric mean "
        "of twelve cells with one layer, of 1 to 32 filters and batches of 1 to 512 in float32, "
        f"and {deep_fast:.1f} times in that of five networks of two or three layers; without it, "
        f"{plain:.1f} and {deep_plain:.1f} times."
    )
    return textwrap.fill(text, 100) + "\n"


def replace_in_readme(name, text):
    """Replace what stands in the README between a marker and the next end."""
    before, start, rest = README.read_text(encoding="utf-8").partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(END)
    README.write_text(before + start + text + end + after, encoding="utf-8")


def main():
    """Read, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("json", nargs="?", metavar="FILE", help="of training.py --json")
    arguments = parser.parse_args()
    if arguments.json:
        figures = json.loads(Path(arguments.json).read_text())
        write(SPEED, *cells(figures))
        write(RATIOS, *ratios(figures))
        (TABLES / "machine.txt").write_text(measure.describe(figures["machine"]) + ".\n")
    replace_in_readme("speed", sentence(*read(RATIOS)))
    replace_in_readme("speed-table", short(*read(SPEED)) + "\n")


if __name__ == "__main__":
    main()
