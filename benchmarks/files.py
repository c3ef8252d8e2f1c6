"""Measure the speed from file to file, compared with that of the network, and peak memory.

    python benchmarks/files.py video [--size 1080 1920] [--frames 24 96] [--depth 3] [--repeat 2]
    python benchmarks/files.py zarr [--sides 4096 8192] [--depth 3] [--repeat 2]

``video`` writes a dim H.264 video with noise and enhances it to another video; ``zarr`` writes an
OME-Zarr of 16 bits and enhances it to another one with all its levels. For comparison, the same
pixels are enhanced from array to array in memory, where only the time of the network is measured,
without the survey. Both measurements alternate, each in a fresh process. Peak memory is that from
file to file in addition to its value after all imports. It is printed for each number of frames,
and must not grow with this number.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import numpy as np
import zarr
from scipy.ndimage import gaussian_filter

RUN = """
import resource, sys, time
import av, numpy, torch, zarr
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
shape, axes = opened.array.shape, opened.axes
count = shape[0] if axes.startswith("t") else shape[0] * shape[1] / 1e6
image, out = opened, result
if kind == "memory":
    image, out = numpy.asarray(opened.array), None
    options = napari_dcr.Options(**{**options.to_dict(), "axes": axes})
started = time.perf_counter()
first = None
for step in enhance_steps(image, options, out):
    if step.done and first is None:
        first, at = step.done, time.perf_counter()
        share = 1 - first / step.total
    if step.done == step.total and kind == "memory":
        break
seconds = time.perf_counter() - started
alone = time.perf_counter() - at
print(count / seconds, count * share / alone, peak() - before)
"""


def light_of(height: int, width: int) -> np.ndarray:
    """A dim scene in colour, without noise, from 0 to 1."""
    rng = np.random.default_rng(0)
    scene = [gaussian_filter(rng.normal(0, 1, (height, width)), s) * s for s in (3, 8, 20)]
    return 0.06 * np.exp(np.stack(scene, -1))


def dim_video(path: Path, frames: int, height: int, width: int) -> None:
    """Write a video of a dim moving scene with camera noise."""
    rng, light = np.random.default_rng(1), light_of(height, width)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            noisy = np.roll(light, 2 * number, 1) + rng.normal(0, 0.01, light.shape)
            pixels = np.clip(np.rint(255 * noisy), 0, 255).astype(np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        file.mux(stream.encode(None))


def dim_zarr(path: Path, side: int) -> None:
    """Write a dim scene of 16 bits as an OME-Zarr with one level."""
    rng, tile = np.random.default_rng(1), light_of(1024, 1024)[..., 0]
    group = zarr.open_group(path, mode="w")
    pixels = group.create_array("0", shape=(side, side), chunks=(512, 512), dtype="uint16")
    for y in range(0, side, 1024):
        for x in range(0, side, 1024):
            noisy = rng.poisson(400 * tile) * 10
            pixels[y : y + 1024, x : x + 1024] = noisy[: side - y, : side - x].astype(np.uint16)
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    scale = [{"type": "scale", "scale": [0.1, 0.1]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group.update_attributes({"ome": {"version": "0.5", "multiscales": [image]}})


def measured(kind: str, source: Path, result: Path, options: argparse.Namespace) -> list[float]:
    """Run a fresh process; returns the speed of all and of the network, and peak memory."""
    command = [sys.executable, "-c", RUN, kind, source, result, options.depth, options.precision, options.device]  # fmt: skip
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def compare(
    title: str, suffix: str, write: Callable[[Path], None], options: argparse.Namespace
) -> None:
    """Print a row of a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder) / f"in{suffix}", Path(folder) / f"out{suffix}"
        write(source)
        files, memory = [], []
        for _ in range(options.repeat):
            memory.append(measured("memory", source, result, options)[1])
            files.append(measured("file", source, result, options))
            shutil.rmtree(result) if result.is_dir() else result.unlink()
    whole = statistics.median(rate for rate, _, _ in files)
    alone, peak = statistics.median(memory), max(most for _, _, most in files)
    print(f"| {title} | {whole:.3g} | {alone:.3g} | {whole / alone:.2f} | {peak / 1e6:.0f} |", flush=True)  # fmt: skip


def main() -> None:
    """Parse the arguments, measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["video", "zarr"])
    parser.add_argument("--size", type=int, nargs=2, default=[1080, 1920], metavar=("ROWS", "COLUMNS"))  # fmt: skip
    parser.add_argument("--frames", type=int, nargs="+", default=[24, 96])
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 8192])
    parser.add_argument("--depth", type=int, default=3)
    # With "auto", frames in memory would be computed in another precision than those of files.
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    video = options.what == "video"
    what, unit = ("frames", "1/s") if video else ("side", "megapixels/s")
    print(f"| {what} | file to file ({unit}) | network alone ({unit}) | share | peak (MB) |\n|---|---|---|---|---|")  # fmt: skip
    for number in options.frames if video else options.sides:
        if video:
            height, width = options.size
            write = partial(dim_video, frames=number, height=height, width=width)
            compare(str(number), ".mp4", write, options)
        else:
            compare(str(number), ".ome.zarr", partial(dim_zarr, side=number), options)


if __name__ == "__main__":
    main()
