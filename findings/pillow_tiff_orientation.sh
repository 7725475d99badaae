#!/usr/bin/env bash
# Pillow: a turned TIFF has other pixels when it is opened by its path than by an open file.
#
# Expected: Image.open(path) and Image.open(file) of one file give the same image.
# What happens: for an uncompressed TIFF in one strip that is not square and has orientation 5 to 8, of
# grey levels (8 or 16 bits) or RGBA, they do not. Opened by its path, the file is mapped into
# memory with the width that the image has after it is turned, and is then turned as well: the rows are
# sheared, width and height are swapped, and there is no warning. RGB and compressed files are right,
# and so is any file that was opened first.
# Versions: Pillow 11.0.0 (the first that swaps the sides when it opens a file) and 13.0.0.
# Why it matters: cameras and scanners write such files, and np.asarray(Image.open(path)) is how most
# training code reads them. After a resize to a common size nothing shows that the pixels are noise.
#
# Way round: with open(path, "rb") as file, Image.open(file) as image: ...
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > case.py <<'PY'
import numpy as np
import PIL
from PIL import Image

ramp = np.arange(120, dtype=np.uint8).reshape(12, 10)
exif = Image.Exif()
exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
kinds = {
    "L": ramp,
    "I;16": ramp.astype(np.uint16),
    "RGBA": np.repeat(ramp[:, :, None], 4, axis=2),
    "RGB": np.repeat(ramp[:, :, None], 3, axis=2),
}
print("Pillow", PIL.__version__)
differ = []
for mode, stored in kinds.items():
    Image.fromarray(stored).save("1.tif", exif=exif)
    right = np.rot90(stored, -1)
    with Image.open("1.tif") as image:
        by_path = np.asarray(image)
    with open("1.tif", "rb") as file, Image.open(file) as image:
        by_file = np.asarray(image)
    assert np.array_equal(by_file, right)
    print(f"{mode:5} by path {by_path.shape[:2]} {'right' if np.array_equal(by_path, right) else 'WRONG'}"
          f", by file {by_file.shape[:2]} right")
    differ += [] if np.array_equal(by_path, right) else [mode]
assert differ == ["L", "I;16", "RGBA"], differ
PY
for version in 11.0.0 13.0.0; do
    python3 -m venv "$version"
    "$version/bin/pip" install -q "pillow==$version" "numpy==2.4.6"
    "$version/bin/python" case.py
done

# Printed on Linux, x86-64, Python 3.11:
#
# Pillow 11.0.0
# L     by path (12, 10) WRONG, by file (10, 12) right
# I;16  by path (12, 10) WRONG, by file (10, 12) right
# RGBA  by path (12, 10) WRONG, by file (10, 12) right
# RGB   by path (10, 12) right, by file (10, 12) right
# Pillow 13.0.0
# L     by path (12, 10) WRONG, by file (10, 12) right
# I;16  by path (12, 10) WRONG, by file (10, 12) right
# RGBA  by path (12, 10) WRONG, by file (10, 12) right
# RGB   by path (10, 12) right, by file (10, 12) right
