#!/usr/bin/env bash
# readlif 0.6.6: get_frame(z, t) returns other frames than those asked for if the LIF stores time faster than z, as a scan in the order xytz does.
#
# Expected before running: the place of a frame follows from the steps in bytes (BytesInc) that the file states for each dimension and channel, as in liffile 2026.2.16.
# Observed: of 2 times, 3 planes and 2 channels in the order z, t, c, 8 of 12 frames are others: t=0, z=1 is the frame of t=1, z=0. The order t, z, c is right. The sizes are right in both, so nothing shows the exchange.
# Consequence: stacks of one time contain planes of several, and traces of one plane jump between depths.
# What we do: LIF files are read with liffile. Use it, or compare one frame, before you trust arrays of such scans.
#
# Output:
#   order t, z, c: readlif 0 of 12 frames differ, liffile 0
#   order z, t, c: readlif 8 of 12 frames differ, liffile 0
#   z, t, c: get_frame(t=0, z=1) is t=1, z=0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "readlif==0.6.6" "liffile==2026.2.16" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import struct
import sys
from itertools import product
from pathlib import Path

import numpy as np
from liffile import LifFile
from readlif.reader import LifFile as ReadLif

os.chdir(sys.argv[1])
NUMBERS = {"X": 1, "Y": 2, "Z": 3, "T": 4}


def write(pixels, order):
    """LIF version 2: XML, then one block of memory. `order` names the axes, slowest first."""
    step = dict(zip(order, pixels.strides, strict=True))
    size = dict(zip(order, pixels.shape, strict=True))
    channels = "".join(
        '<ChannelDescription DataType="0" ChannelTag="0" Resolution="8" NameOfMeasuredQuantity=""'
        ' Min="0" Max="1" Unit="" LUTName="Gray" IsLUTInverted="0"'
        f' BytesInc="{number * step["C"]}" BitInc="0"/>'
        for number in range(size["C"])
    )
    dimensions = "".join(
        f'<DimensionDescription DimID="{NUMBERS[axis]}" NumberOfElements="{size[axis]}" Origin="0"'
        f' Length="1" Unit="{"s" if axis == "T" else "m"}" BitInc="0" BytesInc="{step[axis]}"/>'
        for axis in reversed(order)
        if axis != "C"
    )
    xml = (
        '<LMSDataContainerHeader Version="2"><Element Name="a" Visibility="1" UniqueID="r"><Data/>'
        '<Memory Size="0" MemoryBlockID="MemBlock_r"/><Children>'
        '<Element Name="scan" Visibility="1" UniqueID="0"><Data><Image><ImageDescription>'
        f"<Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
        f'</ImageDescription></Image></Data><Memory Size="{pixels.nbytes}"'
        ' MemoryBlockID="MemBlock_0"/></Element></Children></Element></LMSDataContainerHeader>'
    )
    name = "MemBlock_0"
    head = struct.pack("<IIBI", 0x70, 2 * len(xml) + 5, 0x2A, len(xml)) + xml.encode("utf-16-le")
    block = struct.pack("<IIBQBI", 0x70, 2 * len(name) + 14, 0x2A, pixels.nbytes, 0x2A, len(name))
    Path("a.lif").write_bytes(head + block + name.encode("utf-16-le") + pixels.tobytes())


places = list(product(range(2), range(3), range(2)))  # t, z, c
frames = np.arange(1, 13, dtype=np.uint8).reshape(2, 3, 2, 1, 1) * np.ones((5, 6), np.uint8)
for label, order in (("t, z, c", "TZCYX"), ("z, t, c", "ZTCYX")):
    write(np.ascontiguousarray(frames.transpose(["TZCYX".index(axis) for axis in order])), order)
    image = ReadLif("a.lif").get_image(0)
    assert (image.dims.t, image.dims.z, image.channels) == (2, 3, 2)
    read = [np.asarray(image.get_frame(z=z, t=t, c=c)) for t, z, c in places]
    wrong = sum(not np.array_equal(frame, frames[p]) for frame, p in zip(read, places, strict=True))
    with LifFile("a.lif") as file:
        scan = file.images[0]
        array = scan.asarray().transpose([scan.dims.index(axis) for axis in "TZCYX"])
    other = sum(not np.array_equal(array[place], frames[place]) for place in places)
    print(f"order {label}: readlif {wrong} of 12 frames differ, liffile {other}")
t, z, _ = places[int(image.get_frame(z=1, t=0, c=0).getpixel((0, 0))) - 1]
print(f"z, t, c: get_frame(t=0, z=1) is t={t}, z={z}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
order t, z, c: readlif 0 of 12 frames differ, liffile 0
order z, t, c: readlif 8 of 12 frames differ, liffile 0
z, t, c: get_frame(t=0, z=1) is t=1, z=0
EXPECTED
