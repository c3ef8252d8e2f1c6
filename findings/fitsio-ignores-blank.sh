#!/usr/bin/env bash
# fitsio 1.4.2: pixels that the header declares as missing (BLANK) are read as numbers, also where BSCALE and BZERO are applied.
#
# Expected before running: scaled integers are read as floats with NaN for pixels equal to BLANK, as the FITS standard 4.0 (section 4.4.2.5) describes and astropy does.
# Observed: fitsio returns -16284, the scaled value of -32768; astropy returns NaN.
# Consequence: a missing pixel is the darkest one of the image and shifts its mean, black point and noise.
# What we do: FITS files are read with astropy, and pixels equal to BLANK are missing. Give nodata= for arrays that were read with fitsio.
#
# Output:
#   astropy: float32, nan 100.5, mean nan
#   fitsio: float32, -16284 100.5, mean -920.25
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "fitsio==1.4.2" "astropy==8.0.2" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import fitsio
import numpy as np
from astropy.io import fits

os.chdir(sys.argv[1])
stored = np.arange(16, dtype=np.int16).reshape(4, 4)
stored[0, 0] = -32768
header = fits.PrimaryHDU(stored).header
header.update(BLANK=-32768, BSCALE=0.5, BZERO=100.0)
pixels = stored.astype(">i2").tobytes()
with open("scaled.fits", "wb") as file:
    file.write(header.tostring().encode() + pixels + bytes(-len(pixels) % 2880))
for name, read in (("astropy", fits.getdata), ("fitsio", fitsio.read)):
    image = read("scaled.fits")
    print(f"{name}: {image.dtype.name}, {image[0, 0]:g} {image[0, 1]:g}, mean {image.mean():g}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
astropy: float32, nan 100.5, mean nan
fitsio: float32, -16284 100.5, mean -920.25
EXPECTED
