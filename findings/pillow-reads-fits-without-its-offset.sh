#!/usr/bin/env bash
# Pillow 13.0.0: a FITS file of uint16 is read without BZERO and with the stored integers read as unsigned ones, so
# 0, 1000, 40000, 65535 become 32768, 33768, 7232, 32767, without a warning. Its rows are in the opposite order to astropy 8.0.2.
#
# Expected before running: Pillow does not read FITS, or reads its pixels as astropy does; a file is identified by its
# content, so a wrong suffix does no harm.
# Observed: `Image.open` ignores the suffix and opens any of 40 formats. A FITS named `.png` opens as mode I;16: dark pixels are
# brighter than bright ones. Floats have the right values, upside down. Consequence: name the expected formats,
# `Image.open(path, formats=("PNG", "JPEG"))`, where only pictures are expected.
# What we do: pictures are opened with `formats=`, and FITS files are read with astropy.
#
# Output:
#   format FITS, mode I;16
#   written 0 1000 40000 65535, read by Pillow 7232 32767 32768 33768, by astropy 0 1000 40000 65535
#   floats written -1.5 -0.5 0.5 1.5, read by Pillow 0.5 1.5 -1.5 -0.5
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pillow==13.0.0" "astropy==8.0.2" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import numpy as np
from astropy.io import fits
from PIL import Image

os.chdir(sys.argv[1])


def listed(pixels):
    return " ".join(str(v) for v in np.asarray(pixels).ravel().tolist())


pixels = np.array([[0, 1000], [40000, 65535]], np.uint16)
fits.PrimaryHDU(pixels).writeto("a.fits")
os.rename("a.fits", "a.png")
picture = Image.open("a.png")
print(f"format {picture.format}, mode {picture.mode}")
print(f"written {listed(pixels)}, read by Pillow {listed(picture)}, by astropy {listed(fits.getdata('a.png'))}")
floats = np.array([[-1.5, -0.5], [0.5, 1.5]], np.float32)
fits.PrimaryHDU(floats).writeto("b.fits")
print(f"floats written {listed(floats)}, read by Pillow {listed(Image.open('b.fits'))}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
format FITS, mode I;16
written 0 1000 40000 65535, read by Pillow 7232 32767 32768 33768, by astropy 0 1000 40000 65535
floats written -1.5 -0.5 0.5 1.5, read by Pillow 0.5 1.5 -1.5 -0.5
EXPECTED
