#!/usr/bin/env bash
# bioio-ome-tiff 1.4.0: pixel sizes are numbers without their units, so a file in nanometres that is read and saved again becomes 1000 times as large.
#
# Expected before running: a pixel of 100 nm has the size 0.1, in the unit of OME-XML without a unit, the micrometre; or dimension_properties has the unit.
# Observed: the size is 100.0 for 100 nm and 0.1 for 0.1 µm, and dimension_properties has no unit, although the file names both. The writer stores 100 without a unit, which means 100 µm. time_interval is None for an interval of 500 ms.
# Consequence: pixels of one image are 1000 times as wide as high in viewers that use these numbers, and saved copies have wrong scale bars, areas and volumes.
# What we do: units of OME-XML are read and written with their sizes, each axis with its own (`test_every_axis_of_ome_xml_has_its_own_unit`). Give results made from such arrays their pixel size yourself.
#
# Output:
#   file: X 100 nm, Y 0.1 µm
#   read: X 100.0 None, Y 0.1 None, time interval None
#   saved: X 100 µm, Y 0.1 µm
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "bioio-ome-tiff==1.4.0" "bioio-base==3.5.0" "ome-types==0.7.0" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import numpy as np
import ome_types
import tifffile
from bioio_ome_tiff import Reader
from bioio_ome_tiff.writers import OmeTiffWriter

os.chdir(sys.argv[1])
sizes = {"PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.1, "PhysicalSizeYUnit": "µm"}
times = {"TimeIncrement": 500, "TimeIncrementUnit": "ms"}
pixels = np.zeros((2, 32, 40), np.uint16)
tifffile.imwrite("a.ome.tif", pixels, ome=True, metadata={"axes": "TYX", **sizes, **times})


def show(name, path):
    found = ome_types.from_tiff(path).images[0].pixels
    x, y = found.physical_size_x, found.physical_size_y
    print(f"{name}: X {x:g} {found.physical_size_x_unit.value}, Y {y:g} {found.physical_size_y_unit.value}")


show("file", "a.ome.tif")
reader = Reader("a.ome.tif")
size, unit = reader.physical_pixel_sizes, reader.dimension_properties
print(
    f"read: X {size.X} {unit.X.unit}, Y {size.Y} {unit.Y.unit}, time interval {reader.time_interval}"
)
OmeTiffWriter.save(reader.data, "b.ome.tif", dim_order="TCZYX", physical_pixel_sizes=size)
show("saved", "b.ome.tif")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
file: X 100 nm, Y 0.1 µm
read: X 100.0 None, Y 0.1 None, time interval None
saved: X 100 µm, Y 0.1 µm
EXPECTED
