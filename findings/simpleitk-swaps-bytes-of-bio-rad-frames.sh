#!/usr/bin/env bash
# SimpleITK 2.5.7 (ITK 5.4): 16-bit counts are written to a Bio-Rad PIC file with their two bytes exchanged, so 1 is read as 256, also by SimpleITK itself.
#
# Expected before running: the file holds the array, little-endian like its header, because the writer accepts uint16 without a warning.
# Observed: the counts 1, 2, 300, 4000 are stored as big-endian numbers and read as 256, 512, 11265, 40975. uint8 is right.
# Consequence: a confocal stack that is converted to PIC becomes noise over the full range of 16 bits.
# What we do: PIC files are neither read nor written. Use OME-TIFF for such stacks.
#
# Output:
#   uint8: [1, 2, 30, 200] -> [1, 2, 30, 200]
#   uint16: [1, 2, 300, 4000] -> [256, 512, 11265, 40975]
#   stored little-endian: [256, 512, 11265, 40975]
#   stored big-endian: [1, 2, 300, 4000]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "SimpleITK==2.5.7" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import sys
from pathlib import Path

import numpy as np
import SimpleITK

path = Path(sys.argv[1]) / "a.pic"
for dtype, counts in (("uint8", [1, 2, 30, 200]), ("uint16", [1, 2, 300, 4000])):
    stack = np.array(counts * 6, dtype).reshape(2, 3, 4)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(stack), str(path))
    read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    assert read.shape == stack.shape
    print(f"{dtype}: {counts} -> {read[0, 0].tolist()}")
pixels = path.read_bytes()[76:84]  # the header of PIC has 76 bytes
print(f"stored little-endian: {np.frombuffer(pixels, '<u2').tolist()}")
print(f"stored big-endian: {np.frombuffer(pixels, '>u2').tolist()}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
uint8: [1, 2, 30, 200] -> [1, 2, 30, 200]
uint16: [1, 2, 300, 4000] -> [256, 512, 11265, 40975]
stored little-endian: [256, 512, 11265, 40975]
stored big-endian: [1, 2, 300, 4000]
EXPECTED
