#!/usr/bin/env bash
# suite2p 1.1.0: what it reads from a TIFF depends on the dtype of the file. Counts of uint16 and int32 are halved, those of int16 are not, floats
# are cut to integers, and int32 above 65535 wraps around.
#
# Expected before running: the recorded values are kept, as far as its own int16 can hold them, and others are clipped with a warning.
# Observed: 1001 is read as 500 from uint16 and from int32, and as 1001 from int16. From float32, 0.9 is read as 0, and from int32, 100001
# as -15536.
# Consequence: after a recording was denoised, its traces have another gain than before if the result has another dtype, and
# a float result in units of 0 to 1 becomes black.
# What we do: results have the dtype of the input by default, so that Suite2p treats both alike.
#
# Output:
#   uint16: 1001 -> 500, 40001 -> 20000
#   int16: 1001 -> 1001, 30001 -> 30001
#   int32: 1001 -> 500, 100001 -> -15536
#   float32: 0.9 -> 0, 1001.9 -> 1001
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "suite2p==1.1.0" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import tifffile
from suite2p.io.tiff import read_tiff

path = str(Path(sys.argv[1]) / "a.tif")
for dtype, values in (
    ("uint16", (1001, 40001)),
    ("int16", (1001, 30001)),
    ("int32", (1001, 100001)),
    ("float32", (0.9, 1001.9)),
):
    frames = np.full((4, 32, 32), values[0], dtype)
    frames[2] = values[1]
    tifffile.imwrite(path, frames, photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        read = read_tiff(path, file, len(file.pages), 0, 100, True)
    pairs = (f"{value} -> {read[n, 5, 5]}" for n, value in zip((0, 2), values, strict=True))
    print(f"{dtype}: " + ", ".join(pairs))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" 2>/dev/null | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
uint16: 1001 -> 500, 40001 -> 20000
int16: 1001 -> 1001, 30001 -> 30001
int32: 1001 -> 500, 100001 -> -15536
float32: 0.9 -> 0, 1001.9 -> 1001
EXPECTED
