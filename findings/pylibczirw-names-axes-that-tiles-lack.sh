#!/usr/bin/env bash
# pylibCZIrw 6.1.0: `total_bounding_box` lists the axes T, Z and C even if no tile has them. `read` accepts an index for
# such an axis, but `enumerate_subblocks_subset` then finds no tiles.
#
# Expected before running: index 0 along each axis in `total_bounding_box` is a valid filter, and the three functions agree:
# the pixels that `read` returns for a plane come from the tiles that are found for this plane.
# Observed: for a file whose tiles have H (detector phases), C and Z but not T, the bounding box lists T (0, 1). `read`
# returns the pixels for {"T": 0, "H": h, ...}. The search for the tiles of this plane finds none, and without T it finds
# the right one. A program that uses the tiles to distinguish gaps from recorded zeros treats the whole picture as a gap.
# The file is written with T, which is then renamed to H in the directory of tiles, because the writer does not write H.
# What we do: axes of length 1 are left out of the search for tiles.
#
# Output:
#   axes in the box: T Z C H X Y
#   pixel read with T: 10 20 30
#   tiles found with T: 0 0 0
#   tiles found without T: 1 1 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pylibCZIrw==6.1.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import re
import sys
from pathlib import Path

import numpy as np
from pylibCZIrw import czi

path = Path(sys.argv[1])
with czi.create_czi(str(path)) as file:
    for h in range(3):
        file.write(np.full((16, 20), 10 * (h + 1), "u2"), plane={"T": h, "C": 0, "Z": 0})
entry = re.compile(rb"T(\x00{3}[\x00-\x02]\x00{3}\x01\x00{3})")  # letter, index, length of 1
path.write_bytes(entry.sub(rb"H\1", path.read_bytes()))


def tiles(file, plane):
    found = []
    file.enumerate_subblocks_subset(lambda i, _: found.append(i) or True, plane, only_layer0=True)
    return len(found)


with czi.open_czi(str(path)) as file:
    print("axes in the box:", *file.total_bounding_box)
    planes = [{"T": 0, "Z": 0, "C": 0, "H": h} for h in range(3)]
    print("pixel read with T:", *(int(file.read(plane=p)[0, 0, 0]) for p in planes))
    print("tiles found with T:", *(tiles(file, p) for p in planes))
    print("tiles found without T:", *(tiles(file, {k: i for k, i in p.items() if k != "T"}) for p in planes))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work/phases.czi" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
axes in the box: T Z C H X Y
pixel read with T: 10 20 30
tiles found with T: 0 0 0
tiles found without T: 1 1 1
EXPECTED
