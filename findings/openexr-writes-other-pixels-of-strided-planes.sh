#!/usr/bin/env bash
# OpenEXR 3.5.3 (Python): if a channel is a strided view of an array, such as `rgb[..., 0]`, the file contains consecutive
# values in memory instead of the values of the view. There is no error and no warning.
#
# Expected before running: the values of the view are written, or an error asks for a contiguous array.
# Observed: `rgb[..., 0]` of shape (4, 4, 3) is written as the first 16 numbers of the array. A contiguous copy is written
# correctly.
# What we do: every plane is copied to contiguous memory before it is written.
#
# Output:
#   strided plane [0, 3, 6, 9] comes back as [0.0, 1.0, 2.0, 3.0]
#   contiguous plane [0, 3, 6, 9] comes back as [0.0, 3.0, 6.0, 9.0]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "OpenEXR==3.5.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import sys

import numpy as np
import OpenEXR

rgb = np.arange(48, dtype="f4").reshape(4, 4, 3)
for name, plane in (("strided", rgb[..., 0]), ("contiguous", rgb[..., 0].copy())):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"Y": plane}).write(sys.argv[1])
    with OpenEXR.File(sys.argv[1]) as file:
        print(name, "plane [0, 3, 6, 9] comes back as", file.channels()["Y"].pixels[0].tolist())
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work/a.exr" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
strided plane [0, 3, 6, 9] comes back as [0.0, 1.0, 2.0, 3.0]
contiguous plane [0, 3, 6, 9] comes back as [0.0, 3.0, 6.0, 9.0]
EXPECTED
