#!/usr/bin/env bash
# Pillow 13.0.0 rotates the pixels of a TIFF with an Orientation upright while loading them, but not those of a JPEG, PNG or
# WebP with the same Orientation. tifffile 2026.3.3 never rotates them. The shape of an image therefore depends on the
# library, and on the format that the same picture was saved in.
#
# Expected before running: Pillow returns pixels as stored in all formats, and `ImageOps.exif_transpose` rotates them.
# Observed: the TIFF reader applies the tag itself. A picture of 40 rows and 56 columns with Orientation 6 has the shape
# (56, 40) in Pillow and (40, 56) in tifffile. `getexif()` returns 6 before the pixels are loaded, and nothing afterwards.
# What we do: TIFF files are read with tifffile, and their Orientation is kept.
#
# Output:
#   a.tif: Pillow (56, 40), tifffile (40, 56)
#   a.jpg: Pillow (40, 56)
#   a.png: Pillow (40, 56)
#   a.webp: Pillow (40, 56)
#   Orientation stated by the TIFF before loading 6, after loading None
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
pixels = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
exif = Image.Exif()
exif[274] = 6
for name in ("a.tif", "a.jpg", "a.png", "a.webp"):
    Image.fromarray(pixels).save(name, exif=exif)
    seen = np.asarray(Image.open(name)).shape[:2]
    also = f", tifffile {tifffile.imread(name).shape[:2]}" if name == "a.tif" else ""
    print(f"{name}: Pillow {seen}{also}")
picture = Image.open("a.tif")
before = picture.getexif().get(274)
picture.load()
print(f"Orientation stated by the TIFF before loading {before}, after loading {picture.getexif().get(274)}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
a.tif: Pillow (56, 40), tifffile (40, 56)
a.jpg: Pillow (40, 56)
a.png: Pillow (40, 56)
a.webp: Pillow (40, 56)
Orientation stated by the TIFF before loading 6, after loading None
EXPECTED
