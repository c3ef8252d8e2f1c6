#!/usr/bin/env bash
# SimpleITK 2.5.7 (ITK 5.4): a TIFF of half-precision floats is read as uint16, and its numbers are the bit patterns of the floats.
#
# Expected before running: an error, because ITK has no 16-bit floats, or float32 with the values of the file.
# Observed: 0.5, 1, 2, 100, -1 are read as 14336, 15360, 16384, 22080, 48128. float32 is right. There is no error and no warning.
# Consequence: the scale becomes logarithmic: 100 is 1.4 times as bright as 1 instead of 100 times, so means, ratios, registrations and thresholds are wrong, while the picture still looks plausible.
# What we do: half floats of TIFF are read as their values. Results that SimpleITK shall read need `output="float32"` or an integer dtype.
#
# Output:
#   float32: 32-bit float [0.5, 1.0, 2.0, 100.0, -1.0]
#   float16: 16-bit unsigned integer [14336, 15360, 16384, 22080, 48128]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "SimpleITK==2.5.7" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import SimpleITK
import tifffile

path = str(Path(sys.argv[1]) / "a.tif")
values = [0.5, 1, 2, 100, -1]
for dtype in ("float32", "float16"):
    tifffile.imwrite(path, np.broadcast_to(np.array(values, dtype), (20, 5)))
    image = SimpleITK.ReadImage(path)
    row = SimpleITK.GetArrayFromImage(image)[0]
    print(f"{dtype}: {image.GetPixelIDTypeAsString()} {row.tolist()}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" 2>&1 | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
float32: 32-bit float [0.5, 1.0, 2.0, 100.0, -1.0]
float16: 16-bit unsigned integer [14336, 15360, 16384, 22080, 48128]
EXPECTED
