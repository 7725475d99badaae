"""Run skcnn with other libraries, and write the tables of the guide.

``python benchmarks/neighbours.py containers`` runs skcnn on the arrays of other libraries,
``tools`` inside other people's tools, and ``runtimes`` has other programs run its ONNX files. Each
case runs in a process of its own and becomes a row of ``docs/tables/<table>.csv``, with the version
that was found. A library that is not installed keeps its row, so that one table can be made in
several environments, where libraries do not agree on theirs; the modules of the cases,
``containers.py``, ``tools.py`` and ``runtimes.py``, say what to install.
"""

import argparse
import csv
import importlib
import json
import subprocess
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

TABLES = Path(__file__).parents[1] / "docs" / "tables"
NAMES = ("containers", "tools", "runtimes")


def read_rows(path):
    """Return the rows of a table as lists, by the name in their first column."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row[0]: row for row in list(csv.reader(file))[1:]}


def installed_version(case):
    """Return the version of what a case runs, or raise PackageNotFoundError."""
    return case.version() if hasattr(case, "version") else version(case.distribution)


def run_case(table, name):
    """Run a case in a process of its own, and return its cells, or None where it failed."""
    command = [sys.executable, __file__, table, "--case", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else None


def write_table(table, names):
    """Run the cases of a table whose libraries are installed, and return those that failed."""
    module = importlib.import_module(table)
    path, failed = TABLES / f"{table}.csv", []
    rows = read_rows(path)
    for name in names or module.CASES:
        try:
            found = installed_version(module.CASES[name])
        except PackageNotFoundError:
            print(f"{name}: not installed", flush=True)
            continue
        cells = run_case(table, name)
        if cells is None:
            failed.append(name)
        else:
            rows[name] = [name, found, *cells]
        print(f"{name} {found}: {'failed' if cells is None else ' | '.join(cells)}", flush=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(module.COLUMNS)
        writer.writerows(rows[name] for name in module.CASES if name in rows)
    return failed


def main():
    """Run the cases of the tables that are named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", choices=NAMES, help="what to run")
    parser.add_argument("names", nargs="*", help="cases to run; all of the table by default")
    parser.add_argument("--case", help=argparse.SUPPRESS)  # in the process of a case
    arguments = parser.parse_args()
    if arguments.case:
        module = importlib.import_module(arguments.table)
        try:
            print(json.dumps(module.CASES[arguments.case].run()))
        except Exception:
            traceback.print_exc()
            raise SystemExit(1) from None
        return
    failed = write_table(arguments.table, arguments.names)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
