#!/usr/bin/env bash
# dask 2026.8.0 (zarr 3.1.6): if shards contain several chunks of the array, `array.to_zarr(path, shards=...)` loses pixels
# without an error. Several tasks write to the same shard at the same time, and each writes it with its own chunk only.
#
# Expected before running: dask merges its chunks to whole shards, or locks each shard, because zarr replaces a shard as a
# whole.
# Observed: some of the pixels are zero afterwards, in all of five attempts. After `rechunk` to whole shards, no pixels are
# lost.
# What we do: `out=` writes whole shards. For lazy results, the documentation says to rechunk to whole shards first.
#
# Output:
#   attempts of 5 in which to_zarr(shards=) lost pixels: 5
#   pixels lost after rechunking to whole shards: 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "dask[array]==2026.8.0" "zarr==3.1.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import sys

import dask
import dask.array as da
import zarr

ones = da.ones((2048, 2048), chunks=(128, 128), dtype="u2")
dask.config.set(scheduler="threads", num_workers=8)


def lost(array, name):
    path = f"{sys.argv[1]}/{name}.zarr"
    array.to_zarr(path, shards=(1024, 1024), chunks=(128, 128))
    return int((zarr.open_array(path, mode="r")[...] == 0).sum())


attempts = sum(lost(ones, number) > 0 for number in range(5))
print("attempts of 5 in which to_zarr(shards=) lost pixels:", attempts)
print("pixels lost after rechunking to whole shards:", lost(ones.rechunk((1024, 1024)), "whole"))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
attempts of 5 in which to_zarr(shards=) lost pixels: 5
pixels lost after rechunking to whole shards: 0
EXPECTED
