#!/usr/bin/env bash
# pyvips 3.2.0 (libvips 8.18.7): a uint16 array that is saved as PNG becomes 8 bits, and every count above 255 becomes 255.
#
# Expected before running: `Image.new_from_array(counts).write_to_file("a.png")` writes 16 bits, as for an image that was read from a 16-bit TIFF.
# Observed: counts of 200, 1000, 1001, 40000 are stored as 200, 255, 255, 255, without a warning. Pixels have the format "ushort", but the array is labelled "b-w", not "grey16", and the PNG writer obeys the label.
# With interpretation="auto" the file is exact. Float images from a TIFF are clipped in the same way. A TIFF has the counts.
# Consequence: a picture of counts is white, or a dim recording is exact until its first bright pixel.
# What we do: PNG files are written from the dtype of the pixels. Pass interpretation="auto", or save as TIFF.
#
# Output:
#   array to PNG: uint8, [200, 255, 255, 255]
#   array to TIFF: uint16, [200, 1000, 1001, 40000]
#   array, interpretation="auto", to PNG: uint16, [200, 1000, 1001, 40000]
#   uint16 TIFF to PNG: uint16, [200, 1000, 1001, 40000]
#   float32 TIFF to PNG: uint8, [200, 255, 255, 255]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pyvips==3.2.0" "pyvips-binary==8.18.7" "imagecodecs==2026.3.6" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import imagecodecs
import numpy as np
import pyvips
import tifffile

os.chdir(sys.argv[1])
counts = np.array([[200, 1000, 1001, 40000]], np.uint16)
tifffile.imwrite("counts.tif", counts)
tifffile.imwrite("floats.tif", counts.astype(np.float32))
images = {
    "array to PNG": pyvips.Image.new_from_array(counts),
    "array to TIFF": pyvips.Image.new_from_array(counts),
    'array, interpretation="auto", to PNG': pyvips.Image.new_from_array(counts, interpretation="auto"),
    "uint16 TIFF to PNG": pyvips.Image.new_from_file("counts.tif"),
    "float32 TIFF to PNG": pyvips.Image.new_from_file("floats.tif"),
}
for number, (name, image) in enumerate(images.items()):
    file = f"{number}.{'png' if name.endswith('PNG') else 'tif'}"
    image.write_to_file(file)
    stored = imagecodecs.imread(file)
    print(f"{name}: {stored.dtype}, {stored[0].tolist()}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
array to PNG: uint8, [200, 255, 255, 255]
array to TIFF: uint16, [200, 1000, 1001, 40000]
array, interpretation="auto", to PNG: uint16, [200, 1000, 1001, 40000]
uint16 TIFF to PNG: uint16, [200, 1000, 1001, 40000]
float32 TIFF to PNG: uint8, [200, 255, 255, 255]
EXPECTED
