#!/usr/bin/env bash
# dask 2026.8.0 (zarr 3.1.6): two arrays from `dask.array.from_zarr` of the same folder have the same name, and therefore
# the same keys, even if the folder was changed in between. Caches that identify chunks by key return the earlier pixels.
#
# Expected before running: the name changes with the files, as the name from `from_array` contains a digest of the pixels.
# Observed: the name depends on store and path only. With dask's opportunistic cache (`dask.cache.Cache`), the second array
# computes to the pixels of the first one, which the zarr no longer contains. napari also caches chunks by key.
# A zarr in memory has a new name each time.
# What we do: every run repeats the survey of the image, and every lazy result gets a name of its own.
#
# Output:
#   same name after the zarr was rewritten: True
#   mean in the zarr 5000.0, mean that dask computes 7.0
#   same name for a zarr in memory: False
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" "zarr==3.1.6" "numpy==2.4.6" "cachey==0.2.1"
cat > "$work/run.py" <<'PYTHON'
import sys

import dask.array as da
import numpy as np
import zarr
from dask.cache import Cache

pixels = np.full((512, 512), 7, "u2")
store = zarr.create_array(sys.argv[1], shape=pixels.shape, chunks=(128, 128), dtype="u2")
cache = Cache(1e9)
cache.register()
# What is cheap to compute is not cached: the same chunks, made with some work.
slow = lambda block: np.sort(block, axis=None).reshape(block.shape)

store[...] = pixels
first = da.from_zarr(store)
first.map_blocks(slow).compute()
cache.cache.limit = 0  # nothing more is cached: only what the first array left

store[...] = 5000
second = da.from_zarr(store)
print("same name after the zarr was rewritten:", first.name == second.name)
seen = second.map_blocks(slow).compute().mean()
print(f"mean in the zarr {store[...].mean()}, mean that dask computes {seen}")
cache.unregister()

memory = zarr.create_array({}, shape=(8, 8), chunks=(8, 8), dtype="u2")
memory[...] = 7
first = da.from_zarr(memory)
memory[...] = 5000
print("same name for a zarr in memory:", first.name == da.from_zarr(memory).name)
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work/image.zarr" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
same name after the zarr was rewritten: True
mean in the zarr 5000.0, mean that dask computes 7.0
same name for a zarr in memory: False
EXPECTED
