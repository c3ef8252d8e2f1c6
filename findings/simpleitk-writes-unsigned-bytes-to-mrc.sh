#!/usr/bin/env bash
# SimpleITK 2.5.7 (mrcfile 1.5.4): an 8-bit image is saved as MRC with unsigned bytes and without a mark that says so. The standard calls them signed, so readers return every value of 128 or more as a negative one.
#
# Expected before running: the file has uint16 (mode 6), the stamp that IMOD defined for unsigned bytes, or an error says that MRC has no unsigned bytes.
# Observed: mrcfile reads 0, 100, 128, 200, 255 as 0, 100, -128, -56, -1; SimpleITK reads its own file as it was. uint16 is the same in both.
# Consequence: the brightest structures of an 8-bit tomogram become darker than its background, and its mean is wrong.
# What we do: bytes of MRC files are signed, unless the stamp of IMOD says otherwise (`test_bytes_are_signed_unless_imod_says_otherwise`), so such a file is read as mrcfile reads it. Convert to uint16 before SimpleITK saves it, or pass the array as uint8.
#
# Output:
#   mode 0, version 0, stamp 0
#   SimpleITK: uint8 [0, 100, 128, 200, 255]
#   mrcfile: int8 [0, 100, -128, -56, -1]
#   uint16, mrcfile: uint16 [0, 100, 128, 200, 40000]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "mrcfile==1.5.4" "SimpleITK==2.5.7" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import struct
import sys
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import SimpleITK

warnings.simplefilter("error")
os.chdir(sys.argv[1])


def save(values, dtype):
    volume = np.broadcast_to(np.array(values, dtype), (3, 4, 5))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(volume), "a.mrc")


def show(label, volume):
    print(f"{label}: {volume.dtype} {volume.reshape(-1, 5)[0].tolist()}")


save([0, 100, 128, 200, 255], "uint8")
header = struct.unpack("<256i", Path("a.mrc").read_bytes()[:1024])
print(f"mode {header[3]}, version {header[27]}, stamp {header[38]}")
show("SimpleITK", SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("a.mrc")))
show("mrcfile", mrcfile.read("a.mrc"))
save([0, 100, 128, 200, 40000], "uint16")
show("uint16, mrcfile", mrcfile.read("a.mrc"))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
mode 0, version 0, stamp 0
SimpleITK: uint8 [0, 100, 128, 200, 255]
mrcfile: int8 [0, 100, -128, -56, -1]
uint16, mrcfile: uint16 [0, 100, 128, 200, 40000]
EXPECTED
