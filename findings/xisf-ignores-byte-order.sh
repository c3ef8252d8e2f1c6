#!/usr/bin/env bash
# xisf 0.9.7: an XISF image that declares big-endian numbers, or colours stored pixel by pixel, is read as if it did not. Counts and colours are wrong, without an error.
#
# Expected before running: the attributes byteOrder="big" and pixelStorage="Normal" of the XISF 1.0 specification are obeyed, or an error names them, because the README lists both as not supported.
# Observed: a count of 100 is read as 25600, and 1000 as 59395. Of 12 colour pixels stored as red, green, blue, red is made of the first 12 numbers. Little-endian planes are right.
# Consequence: a frame becomes noise with the mean of about half of the range; colours become a pattern that may pass as a mosaic of a colour camera.
# What we do: XISF files are not read. Convert them to FITS with the program that wrote them, and compare the range before you enhance arrays from this reader.
#
# Output:
#   default: [100, 1000], as stored: True
#   byteOrder="big": [25600, 59395], as stored: False
#   default, colours: [0, 1, 2], as stored: True
#   pixelStorage="Normal", colours: [0, 12, 24], as stored: False
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "xisf==0.9.7" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import struct
import sys

import numpy as np
from xisf import XISF

os.chdir(sys.argv[1])
NAMESPACE = "http://www.pixinsight.com/xisf"


def store(stored, channels, attribute):
    """Write a monolithic XISF 1.0 file: signature, XML header, and the numbers at byte 4096."""
    data = np.ascontiguousarray(stored).tobytes()
    space = "RGB" if channels == 3 else "Gray"
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?><xisf version="1.0" xmlns="{NAMESPACE}">'
        f'<Image geometry="4:3:{channels}" sampleFormat="UInt16" colorSpace="{space}" {attribute} '
        f'location="attachment:4096:{len(data)}"/><Metadata>'
        '<Property id="XISF:CreationTime" type="String">2026-01-01T00:00:00Z</Property>'
        '<Property id="XISF:CreatorApplication" type="String">example</Property>'
        "</Metadata></xisf>"
    ).encode()
    head = b"XISF0100" + struct.pack("<II", len(xml), 0) + xml
    with open("a.xisf", "wb") as file:
        file.write(head.ljust(4096, b"\0") + data)


counts = np.tile(np.array([[100, 1000]], np.uint16), (3, 2))
colours = np.arange(36, dtype=np.uint16).reshape(3, 4, 3)
files = [
    ("default", counts, counts, ""),
    ('byteOrder="big"', counts, counts.astype(">u2"), 'byteOrder="big"'),
    ("default, colours", colours, colours.transpose(2, 0, 1), ""),
    ('pixelStorage="Normal", colours', colours, colours, 'pixelStorage="Normal"'),
]
for name, meant, stored, attribute in files:
    channels = 3 if meant.ndim == 3 else 1
    store(stored, channels, attribute)
    read = XISF("a.xisf").read_image(0)
    same = np.array_equal(read.reshape(meant.shape), meant)
    print(f"{name}: {read.ravel()[: 3 if channels == 3 else 2].tolist()}, as stored: {same}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
default: [100, 1000], as stored: True
byteOrder="big": [25600, 59395], as stored: False
default, colours: [0, 1, 2], as stored: True
pixelStorage="Normal", colours: [0, 12, 24], as stored: False
EXPECTED
