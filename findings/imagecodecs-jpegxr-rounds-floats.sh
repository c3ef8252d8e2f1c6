#!/usr/bin/env bash
# imagecodecs 2026.3.6 (jxrlib): `jpegxr_encode` stores float32 pixels with about 16 bits, at every level. Small values become 0. A
# TIFF from tifffile 2026.3.3 with `compression="jpegxr"` therefore has other pixels than were written, without a warning.
#
# Expected before running: without a level the compression is lossless, as it is for JPEG XL, JPEG 2000, LERC and PNG in
# tifffile, and as it is for JPEG XR of uint16.
# Observed: uint16 is lossless. Of float32, 1000.7 becomes 1000.6875, 0.001 becomes 0.00100708 and 0.000001 becomes 0.
# Consequence: images with small units, such as volts or radiances, lose their dim pixels.
# What we do: results are never written with JPEG XR.
#
# Output:
#   uint16 lossless: True
#   jpegxr 1e-06 1e-05 0.001 0.1 1000.7 -> 0 1.52588e-05 0.00100708 0.100006 1000.69
#   jpegxl 1e-06 1e-05 0.001 0.1 1000.7 -> 1e-06 1e-05 0.001 0.1 1000.7
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "imagecodecs==2026.3.6" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import numpy as np
import tifffile

os.chdir(sys.argv[1])
codes = np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(np.uint16)
tifffile.imwrite("a.tif", codes, compression="jpegxr")
print("uint16 lossless:", np.array_equal(tifffile.imread("a.tif"), codes))

values = np.float32([1e-6, 1e-5, 1e-3, 0.1, 1000.7])
pixels = np.repeat(np.repeat(values, 16)[:, None], 64, axis=1)


def listed(column):
    return " ".join(f"{v:.6g}" for v in column)


for name in ("jpegxr", "jpegxl"):
    tifffile.imwrite("a.tif", pixels, compression=name)
    print(name, listed(values), "->", listed(tifffile.imread("a.tif")[8::16, 5]))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
uint16 lossless: True
jpegxr 1e-06 1e-05 0.001 0.1 1000.7 -> 0 1.52588e-05 0.00100708 0.100006 1000.69
jpegxl 1e-06 1e-05 0.001 0.1 1000.7 -> 1e-06 1e-05 0.001 0.1 1000.7
EXPECTED
