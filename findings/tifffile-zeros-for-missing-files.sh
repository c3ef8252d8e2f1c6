#!/usr/bin/env bash
# tifffile 2026.3.3: if a file of an OME-TIFF image that is spread over several files is missing, its planes read as zeros.
# Shape, axes and number of planes are those of the complete image, and `imread` returns normally.
#
# Expected before running: an error that names the missing file, or an image without the missing planes.
# Observed: the logger "tifffile" writes "Missing data are zeroed"; there is no exception and no Python warning. A program
# that does not display the log measures black frames. The same happens if the XML lists more planes than the file has
# pages, as after an interrupted acquisition.
# What we do: an image that lacks a file or a page is refused with an error that names it.
#
# Output:
#   with a missing file: shape (3, 32, 32), means [100.0, 101.0, 0.0], Python warnings 0
#   with two pages too few: shape (5, 32, 32), means [100.0, 100.0, 100.0, 0.0, 0.0], Python warnings 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import logging
import os
import sys
import warnings

import numpy as np
import tifffile

logging.getLogger("tifffile").addHandler(logging.NullHandler())
logging.getLogger("tifffile").propagate = False
os.chdir(sys.argv[1])
names = [f"t{n}.ome.tif" for n in range(3)]
data = "".join(
    f'<TiffData FirstT="{n}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:0000000{n}</UUID></TiffData>'
    for n, name in enumerate(names)
)
for n, name in enumerate(names):
    xml = (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:0000000{n}"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="32" SizeY="32" SizeZ="1" SizeC="1" SizeT="3">'
        f'<Channel ID="Channel:0:0"/>{data}</Pixels></Image></OME>'
    )
    tifffile.imwrite(name, np.full((32, 32), 100 + n, np.uint8), description=xml.encode(), metadata=None)
os.remove(names[2])
tifffile.imwrite("short.ome.tif", np.full((3, 32, 32), 100, np.uint8), metadata={"axes": "TYX"}, photometric="minisblack")
content = open("short.ome.tif", "rb").read()
for old, new in ((b'SizeT="3"', b'SizeT="5"'), (b'PlaneCount="3"', b'PlaneCount="5"')):
    content = content.replace(old, new)
open("short.ome.tif", "wb").write(content)
for what, name in (("a missing file", names[0]), ("two pages too few", "short.ome.tif")):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        image = tifffile.imread(name)
    told = sum(issubclass(w.category, UserWarning) for w in caught)
    print(f"with {what}: shape {image.shape}, means {image.mean((1, 2)).tolist()}, Python warnings {told}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
with a missing file: shape (3, 32, 32), means [100.0, 101.0, 0.0], Python warnings 0
with two pages too few: shape (5, 32, 32), means [100.0, 100.0, 100.0, 0.0, 0.0], Python warnings 0
EXPECTED
