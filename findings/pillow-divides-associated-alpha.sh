#!/usr/bin/env bash
# Pillow 13.0.0: when a TIFF with associated alpha (ExtraSamples 1, colours stored multiplied by alpha) is read, RGB colours
# are divided by alpha, but grey values are returned as stored. tifffile 2026.3.3 divides neither.
#
# Expected before running: the same rule for grey and colour. Either both are divided, or both are returned as stored, with
# a mode ("RGBa", "La") that shows this.
# Observed: RGB is returned in mode "RGBA", divided, clipped at 255 and without fractions. Grey is returned in mode "La", as
# stored. With an alpha of 51, a stored colour of 40 reads as 200, and a stored grey of 40 reads as 40. A program that reads
# with Pillow and writes the values back with ExtraSamples 1 makes colours brighter by 255 / alpha each time.
# What we do: TIFF files are read with tifffile; alpha is divided out, and multiplied back in the result, by our own
# code.
#
# Output:
#   colour: Pillow RGBA [200, 200, 200, 51], tifffile [40, 40, 40, 51]
#   grey: Pillow La [40, 51], tifffile [40, 51]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pillow==13.0.0" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import numpy as np
import tifffile
from PIL import Image

os.chdir(sys.argv[1])
for kind, photometric, values in (("colour", "rgb", (40, 40, 40, 51)), ("grey", "minisblack", (40, 51))):
    pixels = np.empty((16, 16, len(values)), np.uint8)
    pixels[...] = values
    tifffile.imwrite("a.tif", pixels, photometric=photometric, planarconfig="contig", extrasamples=["assocalpha"])
    picture = Image.open("a.tif")
    shown, stored = np.asarray(picture)[0, 0].tolist(), tifffile.imread("a.tif")[0, 0].tolist()
    print(f"{kind}: Pillow {picture.mode} {shown}, tifffile {stored}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
colour: Pillow RGBA [200, 200, 200, 51], tifffile [40, 40, 40, 51]
grey: Pillow La [40, 51], tifffile [40, 51]
EXPECTED
