#!/usr/bin/env bash
# OpenImageIO 3.2.2.0: uint16 counts that are written to FITS are halved, without an error. Counts with BZERO are read without it.
#
# Expected before running: FITS has a convention for unsigned integers (BZERO = 32768) and 32-bit integers, so counts are stored as they are, or write_image() fails.
# Observed: astropy 8.0.2 reads 1000 and 40000 as 500 and 20000 from a file written as uint16. int16 and int32 are right. A uint16 file from astropy is read as -31768 and 7232. write_image() returns True.
# Consequence: 1 and 0 become the same number, a gain that was measured in electrons per count is wrong by a factor of 2, and oiiotool loses the lowest bit of astronomical frames.
# What we do: FITS files are read and written with astropy. Keep counts out of OpenImageIO unless the file type holds their dtype.
#
# Output:
#   uint16: [0, 1, 1000, 40000] -> int16 [0, 0, 500, 20000]
#   int16: [0, 1, 1000, 30000] -> int16 [0, 1, 1000, 30000]
#   int32: [0, 1, 1000, 40000] -> int32 [0, 1, 1000, 40000]
#   uint16 of astropy: [0, 1, 1000, 40000] -> int16 [-32768, -32767, -31768, 7232]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "OpenImageIO==3.2.2.0" "astropy==8.0.2" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import numpy as np
import OpenImageIO
from astropy.io import fits

os.chdir(sys.argv[1])


def show(label, counts, read):
    print(f"{label}: {counts} -> {read.dtype.newbyteorder('=')} {read[0].tolist()}")


for dtype, counts in (
    ("uint16", [0, 1, 1000, 40000]),
    ("int16", [0, 1, 1000, 30000]),
    ("int32", [0, 1, 1000, 40000]),
):
    image = np.broadcast_to(np.array(counts, dtype), (5, 4)).copy()
    file = OpenImageIO.ImageOutput.create("a.fits")
    file.open("a.fits", OpenImageIO.ImageSpec(4, 5, 1, "int" if dtype == "int32" else dtype))
    assert file.write_image(image[..., None])
    file.close()
    show(dtype, counts, fits.getdata("a.fits"))
counts = [0, 1, 1000, 40000]
fits.writeto("b.fits", np.broadcast_to(np.array(counts, "uint16"), (5, 4)).copy())
read = OpenImageIO.ImageBuf("b.fits").get_pixels(OpenImageIO.INT16)[..., 0]
show("uint16 of astropy", counts, read)
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
uint16: [0, 1, 1000, 40000] -> int16 [0, 0, 500, 20000]
int16: [0, 1, 1000, 30000] -> int16 [0, 1, 1000, 30000]
int32: [0, 1, 1000, 40000] -> int32 [0, 1, 1000, 40000]
uint16 of astropy: [0, 1, 1000, 40000] -> int16 [-32768, -32767, -31768, 7232]
EXPECTED
