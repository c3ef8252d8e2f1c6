#!/usr/bin/env bash
# bioimageio.spec 0.5.14.3: a model whose preprocessing converts a uint8 image to float32 and divides it by 255 gets a third
# step, a cast back to uint8. The network then sees 0, and 1 where the image is 255.
#
# Expected before running: the preprocessing is stored as given, because it begins with the dtype that the network needs.
# Observed: unless the last step is `ensure_dtype` or `binarize`, the model description adds `ensure_dtype` with the dtype of
# the stored image. The description is valid; only a run of the network by the validator (bioimageio.core 0.11.0) shows it. A
# network whose input has the dtype float32 then fails. Software that converts the dtype by itself enhances a black picture.
# What we do: the preprocessing of exported packages ends with the dtype, and a test runs the package as its description states.
#
# Output:
#   given ensure_dtype float32, scale_linear; stored ensure_dtype float32, scale_linear, ensure_dtype uint8
#   the network sees 0 0 1 instead of 0 0.502 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "bioimageio.spec==0.5.14.3" "numpy==2.4.6" "pydantic==2.14.3"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import numpy as np
from bioimageio.spec.model import v0_5 as spec

os.chdir(sys.argv[1])
image = np.array([[[[0, 128, 255]]]], np.uint8)
np.save("image.npy", image)
steps = [
    spec.EnsureDtypeDescr(kwargs=spec.EnsureDtypeKwargs(dtype="float32")),
    spec.ScaleLinearDescr(kwargs=spec.ScaleLinearKwargs(gain=1 / 255)),
]


def named(steps):
    return ", ".join(f"{s.id} {getattr(s.kwargs, 'dtype', '')}".strip() for s in steps)


def processed(array, steps):
    for step in steps:
        array = array.astype(step.kwargs.dtype) if step.id == "ensure_dtype" else array * np.float32(step.kwargs.gain)
    return " ".join(f"{v:.3g}" for v in array.ravel().tolist())


given, wanted = named(steps), processed(image, steps)
tensor = spec.InputTensorDescr(
    id=spec.TensorId("image"),
    axes=[
        spec.BatchAxis(size=1),
        spec.ChannelAxis(channel_names=["grey"]),
        spec.SpaceInputAxis(id=spec.AxisId("y"), size=1),
        spec.SpaceInputAxis(id=spec.AxisId("x"), size=3),
    ],
    test_tensor=spec.FileDescr(source="image.npy"),
    data=spec.IntervalOrRatioDataDescr(type="uint8", range=(0, 255)),
    preprocessing=steps,
)
print(f"given {given}; stored {named(tensor.preprocessing)}")
seen = processed(image, tensor.preprocessing)
print(f"the network sees {seen} instead of {wanted}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" 2> "$work/log" | tee "$work/seen" || { cat "$work/log"; exit 1; }
diff "$work/seen" - <<'EXPECTED'
given ensure_dtype float32, scale_linear; stored ensure_dtype float32, scale_linear, ensure_dtype uint8
the network sees 0 0 1 instead of 0 0.502 1
EXPECTED
