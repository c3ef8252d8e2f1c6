#!/usr/bin/env bash
# npy2bdv 1.1.0: a uint16 stack is stored as int16 in the HDF5 file of BigDataViewer, and reduced levels are cut to integers.
#
# Expected before running: h5py reads a count of 40000 as 40000, and reduced levels keep the mean within 0.1 %.
# Observed: 40000 is read as -25536, because BigDataViewer alone reads the numbers as unsigned. The mean of one count per pixel is 1.00 at full size,
# 0.62 reduced by 2, and 0.51 reduced by 4 x 4 x 2.
# Consequence: readers that trust the stored type show bright pixels as negative ones; reduced levels of faint stacks are too dark.
# What we do: HDF5 files of BigDataViewer are not read or written. Levels of our pyramids keep the mean.
#
# Output:
#   level 0: int16, 40000 -> -25536, mean 1.00
#   level 1: int16, mean 0.62
#   level 2: int16, mean 0.51
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "npy2bdv==1.1.0" "h5py==3.16.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import h5py
import npy2bdv
import numpy as np

os.chdir(sys.argv[1])
stack = np.random.default_rng(0).poisson(1, (8, 64, 64)).astype(np.uint16)
stack[0, 0, 0] = 40000
reductions = ((1, 1, 1), (1, 2, 2), (2, 4, 4))
writer = npy2bdv.BdvWriter("a.h5", subsamp=reductions, blockdim=((4, 32, 32),) * 3)
writer.append_view(stack, time=0, channel=0)
writer.write_xml()
writer.close()
with h5py.File("a.h5") as file:
    for number in range(3):
        level = file[f"t00000/s00/{number}/cells"][()]
        lamp = f", 40000 -> {level[0, 0, 0]}" if number == 0 else ""
        print(f"level {number}: {level.dtype}{lamp}, mean {level.ravel()[1:].mean():.2f}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
level 0: int16, 40000 -> -25536, mean 1.00
level 1: int16, mean 0.62
level 2: int16, mean 0.51
EXPECTED
