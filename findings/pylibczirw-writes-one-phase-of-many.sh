#!/usr/bin/env bash
# pylibCZIrw 6.1.0: `CziWriter.write(plane, plane={"C": 0, "H": h})` ignores the detector phase H and returns True. All
# phases are written to the same place, and a reader gets the last one for every phase.
#
# Expected before running: phases are stored along H, because the reader knows H (`total_bounding_box`, `CZI_DIMS`), or
# `write` raises an error for an axis that it does not write.
# Observed: three calls return True, the file has no axis H, and H 0, 1 and 2 all read as the phase that was written last.
# The axes T, C and Z are stored as given. As a consequence, a test file with several phases (Airyscan, structured
# illumination) from this writer has only one phase, and a reader that ignores H passes the test.
# What we do: tests write the phases along T and rename the axis in the file.
#
# Output:
#   written: True True True
#   axes T Z C X Y, tiles 3
#   phase written 10 20 30, phase read 30 30 30
#   time written 10 20 30, time read 10 20 30
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pylibCZIrw==6.1.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import sys

import numpy as np
from pylibCZIrw import czi

values = (10, 20, 30)
for axis, name in (("H", "phase"), ("T", "time")):
    path = f"{sys.argv[1]}/{axis}.czi"
    with czi.create_czi(path) as file:
        told = [
            file.write(np.full((16, 20), v, "u2"), plane={"C": 0, axis: i}) for i, v in enumerate(values)
        ]
    with czi.open_czi(path) as file:
        tiles = []
        file.enumerate_subblocks(lambda i, _: tiles.append(i) or True)
        read = [int(file.read(plane={"C": 0, axis: i})[0, 0, 0]) for i in range(3)]
        axes = " ".join(file.total_bounding_box)
    if axis == "H":
        print("written:", *told)
        print(f"axes {axes}, tiles {len(tiles)}")
    print(f"{name} written", *values, end=f", {name} read ")
    print(*read)
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
written: True True True
axes T Z C X Y, tiles 3
phase written 10 20 30, phase read 30 30 30
time written 10 20 30, time read 10 20 30
EXPECTED
