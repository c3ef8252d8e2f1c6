#!/usr/bin/env bash
# napari-video 0.2.13 (pyvideoreader 0.5.7): a single row, column or colour of the array that it gives to napari is the one before the requested one, and frame -1 is the first frame.
#
# Expected before running: data[t, y, x] is data[t][y, x], and data[-1] is the last frame, because the class presents a video as a NumPy array.
# Observed: data[2, 5, 7] is pixel (4, 6) of frame 2, and the kymograph data[:, 5] is that of row 4. Row 0 is the last row. Slices such as data[2, 5:6, 7:8] are right. ndim is 5 for a shape of four axes.
# Consequence: kymographs, time traces of pixels and views with time as a displayed axis are shifted by one pixel relative to the frames, and channel 0 is blue.
# What we do: runs read whole frames, which are right. Take np.stack([data[t] for t in range(len(data))]) for your own measurements on such a layer.
#
# Output:
#   shape (6, 48, 64, 3), ndim 5
#   data[2, 5, 7] is pixel (4, 6) of frame 2
#   data[2, 5:6, 7:8] is pixel (5, 7) of frame 2
#   data[:, 5] is row 4
#   data[:, 0] is row 47
#   data[-1] is frame 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "napari-video==0.2.13" "pyvideoreader==0.5.7" "opencv-python-headless==4.11.0.86" "av==18.1.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import av
import numpy as np
from napari_video.napari_video import napari_get_reader

os.chdir(sys.argv[1])
rows, columns = np.mgrid[:48, :64]
with av.open("a.mp4", "w") as video:
    stream = video.add_stream("libx264", rate=30)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
    stream.options = {"crf": "0"}
    for number in range(6):
        pixels = np.stack([rows * 5, columns * 4, np.full_like(rows, number * 50)], -1)
        frame = av.VideoFrame.from_ndarray(pixels.astype(np.uint8), format="rgb24")
        video.mux(stream.encode(frame.reformat(format="yuv444p")))
    video.mux(stream.encode())

[(data, _, _)] = napari_get_reader("a.mp4")("a.mp4")
frames = np.stack([data[number] for number in range(len(data))])


def find(value, candidates):
    """Index of the candidate that is nearest to the value."""
    errors = [np.abs(np.squeeze(value).astype(int) - c.astype(int)).sum() for c in candidates]
    return int(np.argmin(errors))


print(f"shape {data.shape}, ndim {data.ndim}")
pixels = frames[2].reshape(-1, 3)
print(f"data[2, 5, 7] is pixel {divmod(find(data[2, 5, 7], pixels), 64)} of frame 2")
print(f"data[2, 5:6, 7:8] is pixel {divmod(find(data[2, 5:6, 7:8], pixels), 64)} of frame 2")
of_rows = frames.transpose(1, 0, 2, 3)
print(f"data[:, 5] is row {find(data[:, 5], of_rows)}")
print(f"data[:, 0] is row {find(data[:, 0], of_rows)}")
print(f"data[-1] is frame {find(data[-1], frames)}")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
shape (6, 48, 64, 3), ndim 5
data[2, 5, 7] is pixel (4, 6) of frame 2
data[2, 5:6, 7:8] is pixel (5, 7) of frame 2
data[:, 5] is row 4
data[:, 0] is row 47
data[-1] is frame 0
EXPECTED
