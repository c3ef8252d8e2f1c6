"""Compare the speed and memory of an earlier commit with the working tree.

    python benchmarks/against.py 8719330 [--cases small medium large photo memory busy] [--rounds 3]

The commit is checked out to a temporary folder, and both trees run the same inputs with the same
interpreter and dependencies: each measurement in a fresh process, and both trees in turn, so that
other work on the machine affects both alike.  The table gives medians and their quotients.

small: 1000 frames of 30 x 40, medium: 200 frames of 128 x 128, large: one image of 2048 x 2048, for
both models.  photo: an RGB picture of 1600 x 1065 in 8 bits.  memory: `microscopy`, 4096 x 4096, zarr
to zarr.  busy: two channels of 8 x 256 x 256 in the napari window, idle and beside a process that
keeps two threads busy; it needs a display, for example ``xvfb-run``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inputs import noisy_zarr

HERE = Path(__file__).resolve().parent

CALLS = """
import resource, sys, time
import numpy as np
import napari_dcr
model, *shape = sys.argv[1:]
shape = tuple(map(int, shape))
rng = np.random.default_rng(0)
rgb = len(shape) == 3 and shape[-1] == 3
y, x = np.mgrid[:shape[-2], :shape[-1]]
light = 400 + 300 * np.sin(x / 9) * np.cos(y / 7)
if rgb:
    image = rng.integers(0, 50, shape, np.uint8)
else:  # little noise, so that `photo` has no noise stage, which the earlier commit may not know
    image = (light + rng.normal(0, 12, shape)).clip(0).astype(np.uint16)
options = {"model": model, "device": "cpu"}
if not rgb:
    options["axes"] = "tyx"[-image.ndim:]
napari_dcr.enhance(image, **options)
times = []
for seed in range(3):
    image = image + np.asarray(seed > 0, image.dtype)  # another image, which is surveyed again
    started = time.perf_counter()
    napari_dcr.enhance(image, **options)
    times.append(time.perf_counter() - started)
print(min(times))
"""

MEMORY = """
import resource, sys, time
import numpy, zarr, torch
import napari_dcr
from napari_dcr.network import weights
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
source, result = sys.argv[1:]
weights.load("microscopy")
before, started = peak(), time.perf_counter()
napari_dcr.enhance(source, out=result, model="microscopy", device="cpu", precision="fp32")
print(time.perf_counter() - started, (peak() - before) / 1e9)
"""

BUSY = """
import subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from window import WIDGET, open_viewer, pause, wait
import numpy as np
viewer = open_viewer()
_, widget = viewer.window.add_plugin_dock_widget(*WIDGET)
wait(lambda: len(widget.controls.device.choices) > 1)
rng = np.random.default_rng(0)
image = rng.poisson(30, (2, 8, 256, 256)).astype(np.uint16) + 100
layer = viewer.add_image(image, axis_labels=("c", "z", "y", "x"))
widget.controls.image.value = layer
widget.controls.model.value = "microscopy"
load = None
if sys.argv[2] == "busy":
    code = "import torch; torch.set_num_threads(2); a = torch.rand(1500, 1500)\\nwhile True: a @ a"
    load = subprocess.Popen([sys.executable, "-c", code])
    pause(5)
try:
    widget.start()
    started = time.perf_counter()
    wait(lambda: not widget.running)
    print(time.perf_counter() - started, flush=True)
finally:
    if load is not None:
        load.kill()
import os
os._exit(0)
"""


@contextmanager
def checked_out(revision: str) -> Iterator[Path]:
    """Check out a commit to a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        git = ["git", "-C", str(HERE.parent), "worktree"]
        subprocess.run([*git, "add", "--detach", str(tree), revision], check=True, capture_output=True)  # fmt: skip
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measure(tree: Path, code: str, *arguments: object) -> list[float]:
    """Run a program with the package of a tree; returns the numbers that it prints."""
    path = os.pathsep.join(filter(None, [str(tree / "src"), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, cwd=tree
    )
    if done.returncode:
        raise SystemExit(f"{tree}: {done.stderr}")
    return [float(word) for word in done.stdout.split()]


def cases(chosen: list[str], folder: Path) -> Iterator[tuple[str, str, tuple[object, ...]]]:
    """Name, program and arguments of each measurement."""
    shapes = {"small": (1000, 30, 40), "medium": (200, 128, 128), "large": (2048, 2048)}
    for case, shape in shapes.items():
        if case in chosen:
            for model in ("photo", "microscopy"):
                yield f"{' x '.join(map(str, shape))}, {model}", CALLS, (model, *shape)
    if "photo" in chosen:
        yield "1065 x 1600, RGB, photo", CALLS, ("photo", 1065, 1600, 3)
    if "memory" in chosen:
        source = folder / "in.zarr"
        noisy_zarr(source, 4096, 1024)
        yield "4096 x 4096, zarr to zarr, microscopy", MEMORY, (source, "out.zarr")
    if "busy" in chosen:
        for load in ("idle", "busy"):
            yield f"2 x 8 x 256 x 256 in napari, {load}", BUSY, (HERE, load)


def main() -> None:
    """Parse the arguments, measure and print a Markdown table."""
    every = ["small", "medium", "large", "photo", "memory", "busy"]
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("revision", help="commit to compare with")
    parser.add_argument("--cases", nargs="+", choices=every, default=every)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(
        f"| case | quantity | {options.revision} | working tree | quotient |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder, checked_out(options.revision) as tree:
        for name, code, arguments in cases(options.cases, Path(folder)):
            found: list[list[list[float]]] = [[], []]
            for number in range(options.rounds):
                for side, place in enumerate((tree, HERE.parent)):
                    out = f"{folder}/{side}-{number}.zarr"
                    given = [out if each == "out.zarr" else each for each in arguments]
                    found[side].append(measure(place, code, *given))
            for quantity, unit in enumerate(("s", "GB")[: len(found[0][0])]):
                old, new = (statistics.median(r[quantity] for r in side) for side in found)
                print(f"| {name} | {unit} | {old:.3g} | {new:.3g} | {new / old:.3f} |", flush=True)


if __name__ == "__main__":
    main()
