#!/usr/bin/env bash
# What one would expect: pandas 3 has copy-on-write. A selection of columns, `table[columns]`, behaves
#   as a copy: nothing that is done to it changes the table, and the arrays of it that pandas hands
#   out may only be read. A transformer of scikit-learn that was asked to work in place, on the
#   selection, can at most change the selection.
# What happens: StandardScaler(copy=False).fit_transform(table[columns]) overwrites the table. The
#   selection shares the table's memory until someone writes to it through pandas. scikit-learn gets
#   the array that may only be read, and makes it writable again by its flag: check_array allows
#   itself that for pandas alone. MinMaxScaler, MaxAbsScaler and RobustScaler do the same. Columns that
#   are not side by side are copied by pandas, so that two selections of a table behave differently.
# Versions: scikit-learn 1.9.1, pandas 3.1.1, NumPy 2.4.6.
# Why it matters: pixels, bands or channels of a table are scaled to save memory, the table is used
#   again (for the labels, for a second model, for a plot), and it has other numbers. No error, no
#   warning.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q numpy==2.4.6 scikit-learn==1.9.1 pandas==3.1.1
"$work/venv/bin/python" - <<'PYTHON'
import numpy as np
import pandas as pd
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

changed = {}
for scaler in (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler):
    for kind, columns in (("side by side", [0, 1, 2]), ("apart", [0, 2, 7])):
        table = pd.DataFrame(np.random.default_rng(0).uniform(0, 255, (6, 64)))
        before = table.copy()
        selection = table[columns]
        assert not selection.to_numpy().flags.writeable  # pandas forbids writing
        scaler(copy=False).fit_transform(selection)
        changed[scaler.__name__, kind] = int((table != before).to_numpy().any(axis=0).sum())
        print(f"{scaler.__name__}, columns {kind}: {changed[scaler.__name__, kind]} changed")

table = pd.DataFrame(np.zeros((6, 64)))
selection = table[[0, 1, 2]]
selection.iloc[0, 0] = 1  # by pandas itself: copied first
print("a value written through pandas:", int((table != 0).to_numpy().sum()), "changed")
assert changed["StandardScaler", "side by side"] == 3, "the table is no longer overwritten"
PYTHON

# The output that was seen:
#
# StandardScaler, columns side by side: 3 changed
# StandardScaler, columns apart: 0 changed
# MinMaxScaler, columns side by side: 3 changed
# MinMaxScaler, columns apart: 0 changed
# MaxAbsScaler, columns side by side: 3 changed
# MaxAbsScaler, columns apart: 0 changed
# RobustScaler, columns side by side: 3 changed
# RobustScaler, columns apart: 0 changed
# a value written through pandas: 0 changed
