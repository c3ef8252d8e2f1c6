#!/usr/bin/env bash
# Pillow 13.0.0: `save("a.jpg")` writes a truncated file without an error if the disk becomes full, or the file reaches a
# limit of its size. PNG raises OSError.
#
# Expected before running: OSError, as from `file.write()` in Python.
# Observed: the JPEG encoder writes to the file descriptor itself and takes a write that stored only part of the bytes for
# a complete one. A picture that needs one write ends at the limit. Saved to a `BytesIO`, whose bytes are then written by
# Python, the same picture raises OSError. Consequence: a batch on a nearly full disk reports success for damaged files.
# What we do: pictures are encoded in memory, and Python writes the bytes.
#
# Output:
#   a.jpg: no error, 2000 of 40614 bytes
#   a.png: OSError, 2000 bytes
#   a.jpg by way of BytesIO: OSError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pillow==13.0.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import io
import os
import resource
import sys
from pathlib import Path

import numpy as np
from PIL import Image

os.chdir(sys.argv[1])
picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8))
whole = io.BytesIO()
picture.save(whole, "JPEG", quality=95)
size = len(whole.getvalue())
# A limit of the size of files stands for a disk with 2000 free bytes.
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
picture.save("a.jpg", quality=95)
print(f"a.jpg: no error, {os.path.getsize('a.jpg')} of {size} bytes", flush=True)
try:
    with open("a.png", "wb") as file:
        picture.save(file, "PNG")
except OSError:
    print(f"a.png: OSError, {os.path.getsize('a.png')} bytes", flush=True)
try:
    Path("b.jpg").write_bytes(whole.getvalue())
except OSError:
    print("a.jpg by way of BytesIO: OSError", flush=True)
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
a.jpg: no error, 2000 of 40614 bytes
a.png: OSError, 2000 bytes
a.jpg by way of BytesIO: OSError
EXPECTED
