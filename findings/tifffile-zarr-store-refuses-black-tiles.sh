#!/usr/bin/env bash
# tifffile 2026.3.3 with zarr 3.1.6: a tile of zeros cannot be written into a TIFF that is open as a writable zarr store.
#
# Expected before running: zeros are written like other values, since the store is opened with mode="r+".
# Observed: PermissionError, because zarr deletes chunks that equal the fill value, and a tile of a file cannot be deleted. zarr.open_array(config={"write_empty_chunks": True}) is ignored for an existing array; with_config() works.
# Consequence: a result is written until its first black tile: a black frame, the padding of a mosaic, a masked area.
# What we do: results are written through with_config({"write_empty_chunks": True}); a test writes black tiles and frames.
#
# Output:
#   open_array: PermissionError, ZarrStore does not support deletes; the tile holds 7
#   open_array, config: PermissionError, ZarrStore does not support deletes; the tile holds 7
#   open_array, with_config: written, 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "tifffile==2026.3.3" "zarr==3.1.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import numpy as np
import tifffile
import zarr

os.chdir(sys.argv[1])
tifffile.imwrite("a.tif", shape=(2, 256, 256), dtype=np.uint16, tile=(128, 128))
store = tifffile.imread("a.tif", mode="r+", aszarr=True, level=0)
setting = {"write_empty_chunks": True}
arrays = {
    "open_array": zarr.open_array(store, mode="r+"),
    "open_array, config": zarr.open_array(store, mode="r+", config=setting),
    "open_array, with_config": zarr.open_array(store, mode="r+").with_config(setting),
}
for name, array in arrays.items():
    array[0] = 7
    try:
        array[0, :128, :128] = 0
        print(f"{name}: written, {array[0, 0, 0]}")
    except PermissionError as error:
        print(f"{name}: PermissionError, {error}; the tile holds {array[0, 0, 0]}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
open_array: PermissionError, ZarrStore does not support deletes; the tile holds 7
open_array, config: PermissionError, ZarrStore does not support deletes; the tile holds 7
open_array, with_config: written, 0
EXPECTED
