#!/usr/bin/env bash
# sleap-io 0.9.5 (PyAV 18.1.0): whether a video has colours is decided by its first frame, and there by comparing the first channel
# with the last one alone. A video of green fluorescence, where red and blue are 0, is read as grey, and its grey is the red channel.
#
# Expected before running: a colour video is read with three channels, also if its first frame is black.
# Observed: green of 180 is read as one channel of zeros. A red video whose first frame is black is read as one channel of about 200;
# blue of 200 there gives zeros.
# Consequence: recordings of one dye in colour lose all or part of their signal, without a warning. With `grayscale=False` they are whole.
# What we do: the pixel format of the file decides whether a video has colours.
#
# Output:
#   green: (10, 64, 64, 1) [0]
#   green, grayscale=False: (10, 64, 64, 3) [0, 180, 0]
#   black, then red: (10, 64, 64, 1) [200]
#   black, then blue: (10, 64, 64, 1) [0]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "sleap-io==0.9.5" "av==18.1.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys

import av
import numpy as np
import sleap_io

os.chdir(sys.argv[1])


def write(name, *colours):
    with av.open(name, "w") as container:
        stream = container.add_stream("ffv1", rate=25)  # lossless
        stream.width = stream.height = 64
        stream.pix_fmt = "bgr0"
        for number in range(10):
            colour = colours[min(number, len(colours) - 1)]
            image = np.broadcast_to(np.uint8(colour), (64, 64, 3)).copy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def show(name, **options):
    video = sleap_io.load_video(f"{name.replace(', ', '-').replace(' ', '-')}.mkv", **options)
    label = ", ".join([name, *(f"{k}={v}" for k, v in options.items())])
    print(f"{label}: {video.shape} {video[5][30, 30].tolist()}")


write("green.mkv", (0, 180, 0))
write("black-then-red.mkv", (0, 0, 0), (200, 0, 0))
write("black-then-blue.mkv", (0, 0, 0), (0, 0, 200))
show("green")
show("green", grayscale=False)
show("black, then red")
show("black, then blue")
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'EXPECTED'
green: (10, 64, 64, 1) [0]
green, grayscale=False: (10, 64, 64, 3) [0, 180, 0]
black, then red: (10, 64, 64, 1) [200]
black, then blue: (10, 64, 64, 1) [0]
EXPECTED
