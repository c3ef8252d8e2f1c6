#!/usr/bin/env bash
# pyvips 3.2.0 (libvips 8.18.7): a file that was written again is read as its earlier pixels, size and dtype, as long as the process lives.
#
# Expected before running: `Image.new_from_file` reads the file that is there, as tifffile and Pillow do.
# Observed: after a.tif with counts of 10 was replaced by one of another shape with counts of 200, the image is that of the first file, because libvips keeps images by their path. With revalidate=True, which is not the default, it is read.
# Consequence: a notebook that enhances a file, reads the result, changes an argument and repeats this sees no change. A monitor of an acquisition shows one frame forever.
# What we do: identity of a file is its path, size and time of change. Pass revalidate=True when you read results of the same name with pyvips.
#
# Output:
#   first file: 16 x 16, ushort, 10
#   second file: 16 x 16, ushort, 10
#   second file, tifffile: 24 x 24, uint8, 200
#   second file, revalidate=True: 24 x 24, uchar, 200
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pyvips==3.2.0" "pyvips-binary==8.18.7" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys
import time

import numpy as np
import pyvips
import tifffile

os.chdir(sys.argv[1])


def show(name, **arguments):
    image = pyvips.Image.new_from_file("a.tif", **arguments)
    print(f"{name}: {image.height} x {image.width}, {image.format}, {image.avg():g}")


tifffile.imwrite("a.tif", np.full((16, 16), 10, np.uint16))
show("first file")
time.sleep(2)  # not a matter of the resolution of times
os.remove("a.tif")
tifffile.imwrite("a.tif", np.full((24, 24), 200, np.uint8))
show("second file")
read = tifffile.imread("a.tif")
print(f"second file, tifffile: {read.shape[0]} x {read.shape[1]}, {read.dtype}, {read.mean():g}")
show("second file, revalidate=True", revalidate=True)
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
first file: 16 x 16, ushort, 10
second file: 16 x 16, ushort, 10
second file, tifffile: 24 x 24, uint8, 200
second file, revalidate=True: 24 x 24, uchar, 200
EXPECTED
