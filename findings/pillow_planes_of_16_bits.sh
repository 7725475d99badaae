#!/usr/bin/env bash
# Pillow: the planes of an uncompressed 16-bit colour TIFF are read as bytes.
#
# Expected: a colour TIFF of 16 bits, with its bands in separate planes (PlanarConfiguration 2), is the
# same image whether it is compressed or not, or it is refused.
# What happens: compressed, it is right (the high byte of each level). Without compression each plane is
# read as if it had 8 bits: low and high bytes become neighbouring pixels, and the second half of the
# plane is left out. No error and no warning; shape and mode are right. Of "RGB;16L", the name of the
# pixels, the reader takes the letter of the plane, "R", and forgets the rest.
# Versions: Pillow 11.0.0 and 13.0.0; the files are by tifffile 2026.3.3.
# Why it matters: microscopes, and tifffile for arrays (3, H, W), write bands in separate planes, and
# scientific files are often not compressed. Every other pixel is noise, the rest is in a wrong place.
#
# Way round: read such files with tifffile.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > case.py <<'PY'
import numpy as np
import PIL
import tifffile
from PIL import Image

ramp = np.linspace(0, 65535, 3 * 64 * 64).astype(np.uint16).reshape(3, 64, 64)
right = ramp.transpose(1, 2, 0) >> 8
print("Pillow", PIL.__version__)
errors = {}
for compression in (None, "zlib"):
    tifffile.imwrite("1.tif", ramp, photometric="rgb", planarconfig="separate", compression=compression)
    assert np.array_equal(tifffile.imread("1.tif"), ramp)
    with Image.open("1.tif") as image:
        pixels = np.asarray(image)
    errors[compression] = np.abs(pixels - right.astype(int)).mean()
    print(f"compression {compression}: {image.mode} {image.size}, "
          f"mean difference from the high bytes {errors[compression]:.1f} of 255")
assert errors[None] > 20 and errors["zlib"] == 0
PY
for version in 11.0.0 13.0.0; do
    python3 -m venv "$version"
    "$version/bin/pip" install -q "pillow==$version" "numpy==2.4.6" "tifffile==2026.3.3"
    "$version/bin/python" case.py
done

# Printed on Linux, x86-64, Python 3.11:
#
# Pillow 11.0.0
# compression None: RGB (64, 64), mean difference from the high bytes 52.9 of 255
# compression zlib: RGB (64, 64), mean difference from the high bytes 0.0 of 255
# Pillow 13.0.0
# compression None: RGB (64, 64), mean difference from the high bytes 52.9 of 255
# compression zlib: RGB (64, 64), mean difference from the high bytes 0.0 of 255
