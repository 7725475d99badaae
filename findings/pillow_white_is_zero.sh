#!/usr/bin/env bash
# Pillow: one image is a positive in 8 bits and a negative in 16.
#
# Expected: a grey TIFF in which white is zero (PhotometricInterpretation 0, as in radiographs and
# scans) is read the same in 8 and in 16 bits.
# What happens: levels of 8 bits are inverted, so that white is 255; levels of 16 bits are handed out
# as they are in the file, so that white is 0, without a warning. With the bytes in the other order
# (big endian) the file cannot be opened at all.
# Versions: Pillow 11.0.0 and 13.0.0; the files are by tifffile 2026.3.3.
# Why it matters: a data set of both depths mixes positives and negatives, and a network learns the
# depth of a file in place of what is in it.
#
# Way round: invert levels of the mode I;16 where image.tag_v2.get(262) == 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > case.py <<'PY'
import numpy as np
import PIL
import tifffile
from PIL import Image, UnidentifiedImageError

levels = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
read = {}
for bits, stored in ((8, levels), (16, levels * np.uint16(257))):
    for order in "<>":
        tifffile.imwrite("1.tif", stored, photometric="miniswhite", byteorder=order)
        try:
            with Image.open("1.tif") as image:
                pixels = np.asarray(image) / (2**bits - 1)
            read[bits, order] = "positive" if pixels[0, 0] > pixels[-1, -1] else "NEGATIVE"
        except UnidentifiedImageError:
            read[bits, order] = "not opened"
print("Pillow", PIL.__version__, read)
assert read == {
    (8, "<"): "positive", (8, ">"): "positive", (16, "<"): "NEGATIVE", (16, ">"): "not opened"
}
PY
for version in 11.0.0 13.0.0; do
    python3 -m venv "$version"
    "$version/bin/pip" install -q "pillow==$version" "numpy==2.4.6" "tifffile==2026.3.3"
    "$version/bin/python" case.py
done

# Printed on Linux, x86-64, Python 3.11:
#
# Pillow 11.0.0 {(8, '<'): 'positive', (8, '>'): 'positive', (16, '<'): 'NEGATIVE', (16, '>'): 'not opened'}
# Pillow 13.0.0 {(8, '<'): 'positive', (8, '>'): 'positive', (16, '<'): 'NEGATIVE', (16, '>'): 'not opened'}
