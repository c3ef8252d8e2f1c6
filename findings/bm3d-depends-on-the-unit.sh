#!/usr/bin/env bash
# bm3d 4.0.3 (bm4d 4.2.5): the result depends on the unit of the image. Below about 1e-5 the image is damaged, below 1e-8 it is nearly 0,
# although the standard deviation of the noise is given in the same unit.
#
# Expected before running: image and noise in any unit give the same result in that unit, because nothing else has a unit.
# Observed: from 1e-3 up, the error is 0.07 for noise of 0.3. It is 0.10 at 1e-5 and 0.57 at 1e-6, and at 1e-8 the mean falls from 2.32 to 0.00.
# Consequence: images in volts, in radiances or in electrons per second are blackened without a warning.
# What we do: comparisons with BM3D are made in standard deviations of the noise. Our own results follow the unit.
#
# Output:
#   unit 1e+06: error 0.07, mean 2.32
#   unit 1: error 0.07, mean 2.32
#   unit 0.001: error 0.07, mean 2.32
#   unit 1e-05: error 0.10, mean 2.33
#   unit 1e-06: error 0.57, mean 1.77
#   unit 1e-08: error 2.52, mean 0.00
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "bm3d==4.0.3" "bm4d==4.2.5" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import bm3d
import numpy as np

rng = np.random.default_rng(0)
scene = 2 + np.add.outer(np.sin(np.arange(64) / 7), np.cos(np.arange(64) / 9))
noisy = scene + 0.3 * rng.standard_normal(scene.shape)
for unit in (1e6, 1, 1e-3, 1e-5, 1e-6, 1e-8):
    result = bm3d.bm3d(unit * noisy, 0.3 * unit) / unit
    error = np.sqrt(np.mean((result - scene) ** 2))
    print(f"unit {unit:g}: error {error:.2f}, mean {result.mean():.2f}")
PYTHON
"$work/venv/bin/python" "$work/run.py" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
unit 1e+06: error 0.07, mean 2.32
unit 1: error 0.07, mean 2.32
unit 0.001: error 0.07, mean 2.32
unit 1e-05: error 0.10, mean 2.33
unit 1e-06: error 0.57, mean 1.77
unit 1e-08: error 2.52, mean 0.00
EXPECTED
