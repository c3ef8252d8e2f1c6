#!/usr/bin/env bash
# ids-peak-ipl 1.18.0 (IDS): 12-bit counts become 16 bits by a factor of 16 in a conversion, and by 65535 / 4095 in a PNG file.
#
# Expected before running: a PNG file holds the same values as the frame converted to Mono16.
# Observed: a count of 1000 becomes 16000 in the conversion and 16003 in the file; the steps between counts in the file are 16 or 17.
# Consequence: saved and converted frames of one camera differ in gain and in the level of saturation, 65520 and 65535. Values of the file divided by 16 are not whole counts.
# What we do: noise and saturation are estimated from each image, and uneven steps between values are allowed for. Do not apply noise= from converted frames to saved files.
#
# Output:
#   Mono16 [16, 16000, 65520] steps [16]
#   PNG [16, 16003, 65535] steps [16, 17]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "ids-peak-ipl==1.18.0" "imagecodecs==2026.3.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import imagecodecs
import numpy as np
from ids_peak_ipl import ids_peak_ipl as ipl

os.chdir(sys.argv[1])
counts = np.arange(4096, dtype=np.uint16)
frame = ipl.Image.CreateFromSizeAndPythonBuffer(
    ipl.PixelFormatName_Mono12, counts.view(np.uint8), 64, 64
)
converted = frame.ConvertTo(ipl.PixelFormatName_Mono16)
ipl.ImageWriter.Write("a.png", frame)
images = {"Mono16": converted.get_numpy(), "PNG": imagecodecs.imread("a.png")}
for name, image in images.items():
    steps = np.unique(np.diff(image.ravel())).tolist()
    print(name, [int(image.ravel()[n]) for n in (1, 1000, 4095)], "steps", steps)
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
Mono16 [16, 16000, 65520] steps [16]
PNG [16, 16003, 65535] steps [16, 17]
EXPECTED
