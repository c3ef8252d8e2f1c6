#!/usr/bin/env bash
# imaris-ims-file-reader 0.1.8: slices with a step return fewer pixels than they select, usually a single plane, and index -1 returns none, without an error.
#
# Expected before running: slices are those of NumPy, because the README says "Slice a like a numpy array", or a step raises an error as a negative one does.
# Observed: of 7 planes, [0:1, 0:1, ::2] returns one instead of four. [:, :, :, ::2, ::2] returns one pixel of each plane instead of 10 x 12. [-1] returns an array without time points. Slices without steps are right.
# Consequence: previews, every second frame of a recording and binned copies contain one plane or pixel, which broadcasting then repeats over a whole image. The last frame is missing where -1 selects it.
# What we do: IMS files are read with h5py, by region. Read whole planes with this package, and take steps of the array that it returns.
#
# Output:
#   [:]: (3, 2, 7, 20, 24), as stored
#   [0:1, 0:1, 1:4]: (1, 1, 3, 20, 24), as stored
#   [0:1, 0:1, ::2]: (1, 1, 1, 20, 24) instead of (1, 1, 4, 20, 24)
#   [:, :, :, ::2, ::2]: (3, 2, 7, 1, 1) instead of (3, 2, 7, 10, 12)
#   [::2]: (1, 2, 7, 20, 24) instead of (2, 2, 7, 20, 24)
#   [-1]: (0, 2, 7, 20, 24) instead of (2, 7, 20, 24)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "imaris-ims-file-reader==0.1.8" "h5py==3.16.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import h5py
import numpy as np
from imaris_ims_file_reader.ims import ims

os.chdir(sys.argv[1])
stack = np.random.default_rng(0).integers(1, 60000, (3, 2, 7, 20, 24), np.uint16)


def text(group, **values):
    for name, value in values.items():
        group.attrs[name] = np.frombuffer(str(value).encode(), "S1")


with h5py.File("a.ims", "w") as file:  # Imaris 5.5: t, c, z, y, x
    info = file.create_group("DataSetInfo/Image")
    text(info, X=24, Y=20, Z=7, Unit="um")
    text(info, ExtMin0=0, ExtMin1=0, ExtMin2=0, ExtMax0=24, ExtMax1=20, ExtMax2=7)
    for t, channels in enumerate(stack):
        for c, volume in enumerate(channels):
            group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}")
            text(group, ImageSizeX=24, ImageSizeY=20, ImageSizeZ=7, HistogramMin=0, HistogramMax=9)
            group.create_dataset("Data", data=volume, chunks=volume.shape)

image = ims("a.ims", squeeze_output=False)
for key in (":", "0:1, 0:1, 1:4", "0:1, 0:1, ::2", ":, :, :, ::2, ::2", "::2", "-1"):
    read, meant = (eval(f"array[{key}]", {"array": array}) for array in (image, stack))
    same = np.array_equal(read, meant)
    print(f"[{key}]: {read.shape}{', as stored' if same else f' instead of {meant.shape}'}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | grep '^\[' | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
[:]: (3, 2, 7, 20, 24), as stored
[0:1, 0:1, 1:4]: (1, 1, 3, 20, 24), as stored
[0:1, 0:1, ::2]: (1, 1, 1, 20, 24) instead of (1, 1, 4, 20, 24)
[:, :, :, ::2, ::2]: (3, 2, 7, 1, 1) instead of (3, 2, 7, 10, 12)
[::2]: (1, 2, 7, 20, 24) instead of (2, 2, 7, 20, 24)
[-1]: (0, 2, 7, 20, 24) instead of (2, 7, 20, 24)
EXPECTED
