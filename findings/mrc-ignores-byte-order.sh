#!/usr/bin/env bash
# mrc 0.4.0: big-endian arrays are saved with their bytes exchanged, and the time, wavelength and stage position of each frame of a big-endian DeltaVision file are read as numbers near 0, without an error.
#
# Expected before running: an array is saved with its counts in either byte order. The numbers about each frame are read in the byte order of the file, as its header and pixels are.
# Observed: counts 1, 300 and 1000 of dtype >u2 are read back as 256, 11265 and 59395. In a big-endian file, the pixels are right, but the frame at 60 s and 525 nm is at 4e-41 s and 5.9e-39 nm. The same file in little-endian order is right.
# Consequence: arrays of FITS files, which astropy returns in big-endian order, become noise in DeltaVision files. Time axes of big-endian files have steps of about 0.
# What we do: DeltaVision files are read in the byte order of the file, and arrays in theirs. Convert arrays before you save them with this package: `array.astype(array.dtype.newbyteorder("="))`.
#
# Output:
#   saved <u2: 1, 300, 1000
#   saved >u2: 256, 11265, 59395
#   read <: pixels as stored; second frame at 60 s, 525 nm, z 2.5
#   read >: pixels as stored; second frame at 4.03e-41 s, 5.88e-39 nm, z 1.16e-41
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "mrc==0.4.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import struct
import sys
from pathlib import Path

import mrc
import numpy as np

os.chdir(sys.argv[1])


def write(order, frames, times):
    """DeltaVision: header, 8 integers and 14 floats about each frame, pixels."""
    header = bytearray(1024)
    for place, kind, *values in (
        (0, "4i", 5, 4, len(frames), 6),  # width, height, frames; uint16
        (92, "ih", 88 * len(frames), -16224),  # bytes about the frames; mark of the format
        (128, "2h", 8, 14),
        (180, "2h", len(frames), 1),  # times; channels are fastest, then z
        (196, "2h", 1, 525),  # one channel
    ):
        struct.pack_into(order + kind, header, place, *values)
    about = b"".join(
        struct.pack(f"{order}8i14f", *[0] * 8, 0, time, 0, 0, 2.5, *[0] * 5, 488, 525, 0, 0)
        for time in times
    )
    Path("a.dv").write_bytes(header + about + frames.astype(f"{order}u2").tobytes())


stack = np.array([1, 300, 1000] * 40, np.uint16).reshape(6, 4, 5)
for dtype in ("<u2", ">u2"):
    mrc.imsave("b.dv", stack.astype(dtype))
    print(f"saved {dtype}: {', '.join(map(str, mrc.imread('b.dv').ravel()[:3]))}")
for order in "<>":
    write(order, stack[:2], (0, 60))
    with mrc.DVFile("a.dv") as file:
        assert file.sizes == {"T": 2, "Z": 1, "C": 1, "Y": 4, "X": 5}
        assert np.array_equal(file.asarray(), stack[:2])
        frame = file.ext_hdr.frame(1)
    print(
        f"read {order}: pixels as stored; second frame at {frame.timeStampSeconds:.3g} s,"
        f" {frame.emWavelen:.3g} nm, z {frame.stageZCoord:.3g}"
    )
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
saved <u2: 1, 300, 1000
saved >u2: 256, 11265, 59395
read <: pixels as stored; second frame at 60 s, 525 nm, z 2.5
read >: pixels as stored; second frame at 4.03e-41 s, 5.88e-39 nm, z 1.16e-41
EXPECTED
