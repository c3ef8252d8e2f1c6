#!/usr/bin/env bash
# ccdproc 2.5.1: a bias or dark frame is subtracted from an unsigned 16-bit frame modulo 65536, so pixels below the bias become the brightest ones.
#
# Expected before running: CCDData.read or the subtraction converts counts to floats, and 300 - 305 is -5.
# Observed: the frame stays uint16 and the pixel becomes 65531, without a warning. The same frame minus its overscan, or minus a dark frame with scale=True, is a float and right.
# Consequence: in a bias-subtracted frame without light about half of the pixels are near 65535. Means and noise are wrong, and such pixels look like hot or saturated ones.
# What we do: our readers never subtract frames in unsigned integers. Convert frames with astype(float) before calibration.
#
# Output:
#   subtract_bias: uint16, 300 - 305 = 65531
#   subtract_dark: uint16, 300 - 305 = 65531
#   subtract_dark, scale=True: float64, 300 - 305 = -5
#   subtract_overscan: float64, 300 - 305 = -5
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "ccdproc==2.5.1" "astropy==8.0.2" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys
import warnings

import astropy.units as u
import ccdproc
import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData

os.chdir(sys.argv[1])
warnings.simplefilter("error", RuntimeWarning)
for name, level in (("frame", 300), ("bias", 305)):
    fits.PrimaryHDU(np.full((8, 8), level, np.uint16)).writeto(name + ".fits")
frame, bias = (CCDData.read(name + ".fits", unit="adu") for name in ("frame", "bias"))
times = {"dark_exposure": 1 * u.s, "data_exposure": 1 * u.s}
results = {
    "subtract_bias": ccdproc.subtract_bias(frame, bias),
    "subtract_dark": ccdproc.subtract_dark(frame, bias, **times),
    "subtract_dark, scale=True": ccdproc.subtract_dark(frame, bias, scale=True, **times),
    "subtract_overscan": ccdproc.subtract_overscan(frame, overscan=bias[:, :2], median=True),
}
for name, result in results.items():
    print(f"{name}: {result.data.dtype}, 300 - 305 = {result.data[0, 0]:g}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
subtract_bias: uint16, 300 - 305 = 65531
subtract_dark: uint16, 300 - 305 = 65531
subtract_dark, scale=True: float64, 300 - 305 = -5
subtract_overscan: float64, 300 - 305 = -5
EXPECTED
