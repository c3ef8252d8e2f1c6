#!/usr/bin/env bash
# fabio 2026.6.0: a uint16 frame that is written as an Oxford Diffraction image gets 65536 added at each pixel that is fainter than the one before it.
#
# Expected before running: the format holds 32-bit counts, so uint8 and uint16 are stored as they are, as int16 and int32 are.
# Observed: the counts 100, 90, 120, 50 become 100, 65626, 65656, 131122, because differences between pixels are computed in the unsigned dtype, modulo 65536 (256 for uint8). Each fall adds to all following pixels.
# Consequence: frames of most cameras are uint16, and become a ramp that reaches millions; no warning is given. CBF and EDF files from the same arrays are right.
# What we do: the format is neither read nor written. Convert arrays to int32 before fabio writes them as OxdImage.
#
# Output:
#   uint8: 100 90 120 50 -> 100 346 376 562, last pixel 16434
#   uint16: 100 90 120 50 -> 100 65626 65656 131122, last pixel 4194354
#   int16: 100 90 120 50 -> 100 90 120 50, last pixel 50
#   int32: 100 90 120 50 -> 100 90 120 50, last pixel 50
#   uint16 as CBF: 100 90 120 50 -> 100 90 120 50, last pixel 50
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "fabio==2026.6.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import fabio
import numpy as np
from fabio.cbfimage import CbfImage
from fabio.OXDimage import OxdImage

os.chdir(sys.argv[1])
counts = np.tile([100, 90, 120, 50], (4, 8))


def show(label, image_class, dtype, path):
    image_class(data=counts.astype(dtype), header={}).write(path)
    read = fabio.open(path).data
    assert read.shape == counts.shape
    stored = " ".join(map(str, counts[0, :4]))
    print(f"{label}: {stored} -> {' '.join(map(str, read[0, :4]))}, last pixel {read[-1, -1]}")


for dtype in ("uint8", "uint16", "int16", "int32"):
    show(dtype, OxdImage, dtype, "a.img")
show("uint16 as CBF", CbfImage, "uint16", "a.cbf")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" 2>/dev/null | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
uint8: 100 90 120 50 -> 100 346 376 562, last pixel 16434
uint16: 100 90 120 50 -> 100 65626 65656 131122, last pixel 4194354
int16: 100 90 120 50 -> 100 90 120 50, last pixel 50
int32: 100 90 120 50 -> 100 90 120 50, last pixel 50
uint16 as CBF: 100 90 120 50 -> 100 90 120 50, last pixel 50
EXPECTED
