#!/usr/bin/env bash
# imgstore 0.4.0: a store of 16-bit frames in PNG or TIFF files is read as 8 bits, of which each pixel is the high byte.
#
# Expected before running: frames that were added as uint16 to a store with imgdtype=uint16 are read as the same uint16 frames.
# Observed: the files on disk hold the counts; the store returns uint8, and a count of 300 is read as 1. With the format "npy" frames are exact.
# Consequence: a dim recording, below 256 counts, is read as black, and a brighter one with a few levels only, without a warning.
# What we do: the folders of such a store are read as image sequences, with 16 bits. Check the dtype before enhancing arrays from a store.
#
# Output:
#   png: uint8, 300 -> 1
#     its file: uint16, 300 -> 300
#   tif: uint8, 300 -> 1
#     its file: uint16, 300 -> 300
#   npy: uint16, 300 -> 300
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "imgstore==0.4.0" "opencv-python-headless==5.0.0.93" "imagecodecs==2026.3.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import glob
import os
import sys

import imagecodecs
import imgstore
import numpy as np

os.chdir(sys.argv[1])
frame = np.full((64, 96), 300, np.uint16)
for kind in ("png", "tif", "npy"):
    store = imgstore.new_for_format(
        kind, mode="w", basedir=kind, imgshape=frame.shape, imgdtype=frame.dtype, chunksize=10
    )
    store.add_image(frame, 0, 0.0)
    store.close()
    read, _ = imgstore.new_for_filename(f"{kind}/metadata.yaml").get_next_image()
    print(f"{kind}: {read.dtype}, 300 -> {read[0, 0]}")
    if kind != "npy":
        [file] = glob.glob(f"{kind}/*/*.{kind}")
        print(f"  its file: {imagecodecs.imread(file).dtype}, 300 -> {imagecodecs.imread(file)[0, 0]}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
png: uint8, 300 -> 1
  its file: uint16, 300 -> 300
tif: uint8, 300 -> 1
  its file: uint16, 300 -> 300
npy: uint16, 300 -> 300
EXPECTED
