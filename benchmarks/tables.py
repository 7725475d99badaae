"""Write the tables of speed of the documentation from the figures of a run.

``python benchmarks/training.py --json speed.json`` measures, and ``python benchmarks/tables.py
speed.json`` writes all cells into docs/tables/speed.csv and a few of them into README.md. Without a
file, the README's table is written from the one of the documentation.
"""

import argparse
import csv
import json
from pathlib import Path

import measure

ROOT = Path(__file__).parents[1]
SPEED = ROOT / "docs" / "tables" / "speed.csv"
README = ROOT / "README.md"
START, END = "<!-- speed-table -->\n", "<!-- end -->"

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


def main():
    """Read, and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("json", nargs="?", metavar="FILE", help="of training.py --json")
    arguments = parser.parse_args()
    if arguments.json:
        write(SPEED, *cells(json.loads(Path(arguments.json).read_text())))
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    README.write_text(before + START + short(*read(SPEED)) + "\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
