#!/usr/bin/env bash
# imageio 2.38.1 (imageio-ffmpeg 0.8.1): frames of a video with uneven times are repeated to fill the gaps, and reading as many frames as the file has never reaches its last ones.
#
# Expected before running: the plugin "ffmpeg" returns the ten stored frames, because count_frames() is 10.
# Observed: iterating returns 23 frames, in which frame 8 occurs ten times. get_data(0) to get_data(9) return frames 0 to 5. ffmpeg makes the rate constant before it passes the frames on.
# DeFFcode 0.2.8 does the same. imageio's plugin "pyav" returns the ten frames.
# Consequence: in a recording of a triggered camera or a screen, frames no longer belong to the times and events of the experiment. Repeated frames have identical noise, which looks like no noise in time.
# What we do: videos are read with PyAV, each stored frame once and with its own time (`test_times_of_a_variable_rate`). Do not pass arrays from these readers as recordings.
#
# Output:
#   count_frames: 10
#   iterated: 23 frames: 0 1 2 3 4 4 4 4 4 5 6 7 7 7 7 7 7 7 7 7 7 8 9
#   get_data: 10 frames: 0 1 2 3 4 4 4 4 4 5
#   deffcode: 10 frames: 0 1 2 3 4 4 4 4 4 5
#   pyav: 10 frames: 0 1 2 3 4 5 6 7 8 9
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet "imageio==2.38.1" "imageio-ffmpeg==0.8.1" "deffcode==0.2.8" "av==18.1.0" "numpy==2.4.6"
cat > "$work/run.py" <<'PYTHON'
import os
import sys
from fractions import Fraction

import av
import imageio
import imageio.v3 as iio
import numpy as np
from deffcode import FFdecoder
from imageio_ffmpeg import get_ffmpeg_exe

os.chdir(sys.argv[1])
times = [0, 33, 67, 100, 133, 300, 333, 367, 700, 733]  # ms, of a camera that was triggered
with av.open("a.mp4", "w") as video:
    stream = video.add_stream("libx264", rate=30)
    stream.width = stream.height = 64
    stream.pix_fmt, stream.options = "yuv420p", {"crf": "5", "bf": "0"}
    stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
    for number, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 + 20 * number, np.uint8))
        frame.pts, frame.time_base = time, Fraction(1, 1000)
        video.mux(stream.encode(frame.reformat(format="yuv420p")))
    video.mux(stream.encode())


def show(name, frames):
    numbers = [round((float(np.mean(frame)) - 20) / 20) for frame in frames]
    print(f"{name}: {len(numbers)} frames: {' '.join(map(str, numbers))}")


reader = imageio.get_reader("a.mp4", "ffmpeg")
count = reader.count_frames()
print(f"count_frames: {count}")
show("iterated", imageio.get_reader("a.mp4", "ffmpeg"))
show("get_data", [reader.get_data(i) for i in range(count)])
decoder = FFdecoder("a.mp4", frame_format="rgb24", custom_ffmpeg=get_ffmpeg_exe()).formulate()
show("deffcode", list(decoder.generateFrame()))
decoder.terminate()
show("pyav", iio.imiter("a.mp4", plugin="pyav"))
PYTHON
"$work/venv/bin/python" "$work/run.py" "$work" 2>"$work/log" | tee "$work/seen" || { cat "$work/log" >&2; exit 1; }
diff "$work/seen" - <<'EXPECTED'
count_frames: 10
iterated: 23 frames: 0 1 2 3 4 4 4 4 4 5 6 7 7 7 7 7 7 7 7 7 7 8 9
get_data: 10 frames: 0 1 2 3 4 4 4 4 4 5
deffcode: 10 frames: 0 1 2 3 4 4 4 4 4 5
pyav: 10 frames: 0 1 2 3 4 5 6 7 8 9
EXPECTED
