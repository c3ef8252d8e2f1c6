"""Measure frames per second from file to file, compared with those of the network, and peak memory.

    python benchmarks/files.py video [--size 1080 1920] [--frames 24 96] [--depth 3] [--repeat 2]

``video`` writes a dim H.264 video with noise and enhances it to another video. For comparison, the same
frames are enhanced from array to array in memory, where only the time of the network is measured,
without the survey. Both measurements alternate, each in a fresh process. Peak memory is that from file
to file in addition to its value after all imports. It is printed for each number of frames, and must
not grow with this number.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from scipy.ndimage import gaussian_filter

RUN = """
import resource, sys, time
import av, numpy, torch
import napari_dcr
from napari_dcr.enhancement import enhance_steps
from napari_dcr.network import weights
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
kind, source, result, depth, precision, device = sys.argv[1:]
options = napari_dcr.Options(depth=int(depth), precision=precision, device=device, model="photo")
weights.load("photo")
before = peak()
opened = napari_dcr.open_image(source)
count = opened.array.shape[0]
image, out = opened, result
if kind == "memory":
    image, out = numpy.asarray(opened.array), None
    options = napari_dcr.Options(**{**options.to_dict(), "axes": "tyxs"})
started = time.perf_counter()
first = None
for step in enhance_steps(image, options, out):
    if step.done and first is None:
        first, at = step.done, time.perf_counter()
        share = 1 - first / step.total
seconds = time.perf_counter() - started
alone = time.perf_counter() - at
print(count / seconds, count * share / alone, peak() - before)
"""


def dim_video(path: Path, frames: int, height: int, width: int) -> None:
    """Write a video of a dim moving scene with camera noise."""
    rng = np.random.default_rng(0)
    scene = [gaussian_filter(rng.normal(0, 1, (height, width)), s) * s for s in (3, 8, 20)]
    light = 0.06 * np.exp(np.stack(scene, -1))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            noisy = np.roll(light, 2 * number, 1) + rng.normal(0, 0.01, light.shape)
            pixels = np.clip(np.rint(255 * noisy), 0, 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode(None))


def measured(kind: str, source: Path, result: Path, options: argparse.Namespace) -> list[float]:
    """Run a fresh process; returns frames per second of all and of the network, and peak memory."""
    command = [sys.executable, "-c", RUN, kind, source, result, options.depth, options.precision, options.device]  # fmt: skip
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def measure_video(options: argparse.Namespace) -> None:
    """Print a Markdown table."""
    height, width = options.size
    print(
        "| frames | file to file (1/s) | network alone (1/s) | share | peak (MB) |\n|---|---|---|---|---|"
    )
    for frames in options.frames:
        with tempfile.TemporaryDirectory() as folder:
            source, result = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
            dim_video(source, frames, height, width)
            files, memory = [], []
            for _ in range(options.repeat):
                memory.append(measured("memory", source, result, options)[1])
                files.append(measured("file", source, result, options))
                result.unlink()
        whole = statistics.median(rate for rate, _, _ in files)
        alone, peak = statistics.median(memory), max(most for _, _, most in files)
        print(f"| {frames} | {whole:.3g} | {alone:.3g} | {whole / alone:.2f} | {peak / 1e6:.0f} |", flush=True)  # fmt: skip


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["video"])
    parser.add_argument("--size", type=int, nargs=2, default=[1080, 1920], metavar=("ROWS", "COLUMNS"))  # fmt: skip
    parser.add_argument("--frames", type=int, nargs="+", default=[24, 96])
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=2)
    measure_video(parser.parse_args())


if __name__ == "__main__":
    main()
