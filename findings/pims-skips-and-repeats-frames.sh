#!/usr/bin/env bash
# PIMS 0.7 (PyAV 18.1.0): of a video with uneven times, `pims.open` skips stored frames and returns others several times, although the length is right.
#
# Expected before running: ten frames are stored, len() is 10, and [0] to [9] are these frames.
# Observed: [0] to [9] are the frames 0, 2, 4, 4, 5, 7, 7, 7, 7, 8. An index is converted to a time with the average rate. A video with the same frames at a constant rate is right, and so is `pims.PyAVReaderIndexed`.
# Consequence: in a recording of a triggered camera, four of ten frames are lost for tracking, and objects seem to stop and jump. Repeated frames have identical noise.
# What we do: videos are read with PyAV, each stored frame once and with its own time (`test_times_of_a_variable_rate`).
#
# Output:
#   even times, pims.open: 0 1 2 3 4 5 6 7 8 9
#   uneven times, pims.open: 0 2 4 4 5 7 7 7 7 8
#   uneven times, PyAVReaderIndexed: 0 1 2 3 4 5 6 7 8 9
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "pims==0.7" "av==18.1.0" "scikit-image==0.26.0" "imageio==2.38.1" "tifffile==2026.3.3" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys
from fractions import Fraction

import av
import numpy as np
import pims

os.chdir(sys.argv[1])
videos = {
    "even": (Fraction(1, 30), range(10)),
    "uneven": (Fraction(1, 1000), (0, 33, 67, 100, 133, 300, 333, 367, 700, 733)),
}
for name, (unit, times) in videos.items():
    with av.open(f"{name}.mp4", "w") as video:
        stream = video.add_stream("libx264", rate=30)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "5", "bf": "0"}
        stream.time_base = stream.codec_context.time_base = unit
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 + 20 * number, np.uint8))
            frame.pts, frame.time_base = time, unit
            video.mux(stream.encode(frame.reformat(format="yuv420p")))
        video.mux(stream.encode())


def show(name, frames):
    numbers = [round((float(np.mean(frames[i])) - 20) / 20) for i in range(len(frames))]
    print(f"{name}: {' '.join(map(str, numbers))}")


show("even times, pims.open", pims.open("even.mp4"))
show("uneven times, pims.open", pims.open("uneven.mp4"))
show("uneven times, PyAVReaderIndexed", pims.PyAVReaderIndexed("uneven.mp4"))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" 2>"$work/log" | tee "$work/seen" || { cat "$work/log" >&2; exit 1; }
diff "$work/seen" - <<'EXPECTED'
even times, pims.open: 0 1 2 3 4 5 6 7 8 9
uneven times, pims.open: 0 2 4 4 5 7 7 7 7 8
uneven times, PyAVReaderIndexed: 0 1 2 3 4 5 6 7 8 9
EXPECTED
