#!/usr/bin/env bash
# zarr 3.1.6: an array that was opened by a relative path reads as its fill value after the working directory has changed,
# and pixels are then written to a new folder below the new working directory. There is no error and no warning.
#
# Expected before running: `zarr.open_array` resolves the path once, like `open` and `numpy.memmap`, and continues to use
# that folder; or it raises an error because the chunks are missing.
# Observed: the store keeps the relative path and resolves it for every chunk. Missing chunks mean the fill value, so the
# array reads as zeros. Writing creates the chunks in the new place.
# What we do: paths are made absolute when a call begins.
#
# Output:
#   mean before 5000.0, after a change of the working folder 0.0
#   numpy.memmap of a relative path, after the change 5000.0
#   files below the new folder after writing: ['in.zarr/c/0/0']
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "zarr==3.1.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys
from pathlib import Path

import numpy as np
import zarr

here, elsewhere = Path(sys.argv[1], "here"), Path(sys.argv[1], "elsewhere")
here.mkdir()
elsewhere.mkdir()
os.chdir(here)
created = zarr.create_array("in.zarr", shape=(64, 64), chunks=(32, 32), dtype="u2")
created[...] = 5000
np.full((64, 64), 5000, "u2").tofile("in.raw")

array = zarr.open_array("in.zarr", mode="r+")
mapped = np.memmap("in.raw", "u2", "r", shape=(64, 64))
before = array[...].mean()
os.chdir(elsewhere)
print(f"mean before {before}, after a change of the working folder {array[...].mean()}")
print(f"numpy.memmap of a relative path, after the change {mapped.mean()}")
array[:32, :32] = 7
print("files below the new folder after writing:", sorted(str(p) for p in Path().rglob("*") if p.is_file()))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
mean before 5000.0, after a change of the working folder 0.0
numpy.memmap of a relative path, after the change 5000.0
files below the new folder after writing: ['in.zarr/c/0/0']
EXPECTED
