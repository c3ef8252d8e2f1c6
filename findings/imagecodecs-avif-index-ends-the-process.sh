#!/usr/bin/env bash
# imagecodecs 2026.3.6 (libavif 1.4.0): `avif_decode(data, index=0)` of an AVIF that contains several pictures ends the
# process with a segmentation fault. It is not possible to decode only the first picture of a sequence.
#
# Expected before running: the picture with this number, because `avif_decode(data)` returns all pictures.
# Observed: `index=0` works for a still picture. For a sequence, every index ends the process (signal 11, sometimes
# 7), with any number of threads. Without `index`, all pictures are decoded.
# What we do: all pictures of a sequence are decoded, after a check that they fit into memory, and the first one is
# used.
#
# Output:
#   all pictures of a sequence: (3, 40, 50, 3)
#   index=0 of a still picture: (40, 50, 3)
#   index=0 of a sequence: ended by a signal
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "imagecodecs==2026.3.6" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import sys

import imagecodecs
import numpy as np

pictures = np.random.default_rng(0).integers(0, 255, (3, 40, 50, 3)).astype("u1")
if sys.argv[1] == "all":
    print("all pictures of a sequence:", imagecodecs.avif_decode(imagecodecs.avif_encode(pictures)).shape)
    print("index=0 of a still picture:", imagecodecs.avif_decode(imagecodecs.avif_encode(pictures[0]), index=0).shape)
else:
    imagecodecs.avif_decode(imagecodecs.avif_encode(pictures), index=0)
PYTHON
{
    "$work/venv/bin/python" "$work/run.py" all
    status=0
    "$work/venv/bin/python" "$work/run.py" first || status=$?
    [ "$status" -gt 128 ] && status="ended by a signal"  # SIGSEGV or SIGBUS
    echo "index=0 of a sequence: $status"
} | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
all pictures of a sequence: (3, 40, 50, 3)
index=0 of a still picture: (40, 50, 3)
index=0 of a sequence: ended by a signal
EXPECTED
