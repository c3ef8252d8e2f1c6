#!/usr/bin/env bash
# mrc 0.4.0: stacks are saved as depth, as channels or as time depending on the number of planes, without a message.
#
# Expected before running: a three-dimensional array is a stack along z, because the documentation of `save` says of `zAxisOrder=None`: "3D: 'z'".
# Observed: stacks of 5 and 500 planes have an axis z. Those of 3 and 4 planes have channels, and one of 501 planes has times. `zAxisOrder="z"` keeps z in each of them. The counts are right.
# Consequence: files of one series have different axes. Short stacks are shown as a composite of colours, deconvolution and z-steps no longer apply, and long stacks become movies.
# What we do: the axes are those that the file states. State `zAxisOrder` whenever you save with this package.
#
# Output:
#   3 planes: C by default, Z if stated
#   4 planes: C by default, Z if stated
#   5 planes: Z by default, Z if stated
#   500 planes: Z by default, Z if stated
#   501 planes: T by default, Z if stated
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "mrc==0.4.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import mrc
import numpy as np

os.chdir(sys.argv[1])


def long_axis(stack, **options):
    """Save the stack, and return the name that the file gives to its axis of planes."""
    mrc.imsave("a.dv", stack, **options)
    with mrc.DVFile("a.dv") as file:
        assert np.array_equal(file.asarray(), stack)
        return next(axis for axis in "TCZ" if file.sizes[axis] > 1)


for count in (3, 4, 5, 500, 501):
    stack = np.random.default_rng(0).integers(0, 60000, (count, 6, 7), np.uint16)
    print(f"{count} planes: {long_axis(stack)} by default, {long_axis(stack, zAxisOrder='z')} if stated")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
3 planes: C by default, Z if stated
4 planes: C by default, Z if stated
5 planes: Z by default, Z if stated
500 planes: Z by default, Z if stated
501 planes: T by default, Z if stated
EXPECTED
