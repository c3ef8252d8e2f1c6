#!/usr/bin/env bash
# pypylon 26.9 (Basler): a Mono12 frame has counts of 0..4095 as an array, and 16 times these counts in the PNG or TIFF file that pylon saves.
#
# Expected before running: the file holds the counts of the array, as the conversion to Mono16 by ImageFormatConverter does (LsbAligned).
# Observed: array and converted image 176, file 2816. The brightest value of a file is 65520, not 65535.
# Consequence: gain, offset and noise of one camera differ by a factor of 16 between saved and grabbed frames, and saturated pixels are not at the end of the dtype.
# What we do: noise is estimated from each image, so the factor does not matter. Saturation is recognised below the end of the dtype. Do not apply noise= from arrays to saved files.
#
# Output:
#   array: uint16, 1 times the counts
#   converted to Mono16: uint16, 1 times the counts
#   PNG: uint16, 16 times the counts
#   TIFF: uint16, 16 times the counts
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pypylon==26.9" "tifffile==2026.3.3" "imagecodecs==2026.3.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import imagecodecs
import tifffile
from pypylon import pylon

os.chdir(sys.argv[1])
camera = pylon.InstantCamera(pylon.TlFactory.GetInstance().CreateFirstDevice())
camera.Open()  # the emulated camera of pylon
camera.PixelFormat.Value = "Mono12"
grabbed = camera.GrabOne(5000)
converter = pylon.ImageFormatConverter()
converter.OutputPixelFormat = pylon.PixelType_Mono16
picture = pylon.PylonImage()
picture.AttachGrabResultBuffer(grabbed)
picture.Save(pylon.ImageFileFormat_Png, "a.png")
picture.Save(pylon.ImageFileFormat_Tiff, "a.tiff")
images = {
    "array": grabbed.Array,
    "converted to Mono16": converter.Convert(grabbed).GetArray(),
    "PNG": imagecodecs.imread("a.png"),
    "TIFF": tifffile.imread("a.tiff"),
}
for name, image in images.items():
    ratio = image.max() / images["array"].max()
    print(f"{name}: {image.dtype}, {ratio:g} times the counts")
PYTHON
PYLON_CAMEMU=1 "$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
array: uint16, 1 times the counts
converted to Mono16: uint16, 1 times the counts
PNG: uint16, 16 times the counts
TIFF: uint16, 16 times the counts
EXPECTED
