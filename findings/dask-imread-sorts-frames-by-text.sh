#!/usr/bin/env bash
# dask 2026.8.0: `dask.array.image.imread("frame*.tif")` sorts the files by text, so frame 10 follows frame 1. The time axis of a
# recording of more than nine frames without leading zeros is in the wrong order, without a warning.
#
# Expected before running: the frames are in the order of their numbers, as from `tifffile.imread("frame*.tif")`.
# Observed: the order is 1, 10, 11, 2, ..., 9. tifffile 2026.3.3 returns 1 to 11 for the same pattern. Consequence: tracks jump, and
# neighbouring frames are not neighbours in time.
# What we do: several files that form one recording are sorted with their numbers in numerical order.
#
# Output:
#   dask: 1 10 11 2 3 4 5 6 7 8 9
#   tifffile: 1 2 3 4 5 6 7 8 9 10 11
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" "scikit-image==0.26.0" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import dask.array.image
import numpy as np
import tifffile

os.chdir(sys.argv[1])
for number in range(1, 12):
    tifffile.imwrite(f"frame{number}.tif", np.full((4, 4), number, np.uint8))
print("dask:", *dask.array.image.imread("frame*.tif")[:, 0, 0].compute())
print("tifffile:", *tifffile.imread("frame*.tif")[:, 0, 0])
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
dask: 1 10 11 2 3 4 5 6 7 8 9
tifffile: 1 2 3 4 5 6 7 8 9 10 11
EXPECTED
