"""Kill a run into a zarr at random moments, resume it, and compare with an uninterrupted run.

    python benchmarks/resume.py [--kills 10] [--side 1200] [--seed 0]

Fails if any file differs between the two stores.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inputs import noisy_zarr

RUN = """
import sys
import napari_dcr
from napari_dcr.engine import resume
resume.SECONDS = 0.0
print("ready", flush=True)
napari_dcr.enhance(
    sys.argv[1], out=sys.argv[2], resume=True, tile=128, model="photo", device="cpu",
    precision="fp32",
    progress=lambda step: print(step.done, step.total, flush=True),
)
"""


def contents(store: Path) -> dict[str, bytes]:
    """Contents of all files of a store."""
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def run(image: Path, out: Path, lines: int | None, wait: float) -> str:
    """Kill a run ``wait`` seconds after it has printed ``lines`` steps; None runs to completion."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, image, out], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    last = ""
    for number, line in enumerate(process.stdout):
        last = line.strip()
        if number == lines:
            time.sleep(wait)
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    return f"{last}, exit {process.returncode}"


def main() -> None:
    """Print the outcome; exit with an error if the stores differ."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--side", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        image, out, whole = (Path(folder) / f"{n}.zarr" for n in ("in", "out", "whole"))
        noisy_zarr(image, options.side, 256, options.seed)
        for kill in range(options.kills):
            # Some kills come before the first tile and most during tiles, at any moment.
            lines = generator.randrange(12)
            moment = run(image, out, lines, generator.uniform(0, 0.3))
            print(f"kill {kill + 1}: at {moment}", flush=True)
        print(f"resumed: {run(image, out, None, 0)}")
        print(f"without interruption: {run(image, whole, None, 0)}")
        one, other = contents(out), contents(whole)
    differing = [n for n in one.keys() | other.keys() if one.get(n) != other.get(n)]
    print(f"{len(other)} files, {len(differing)} differ")
    if differing:
        raise SystemExit(f"different: {differing[:5]}")


if __name__ == "__main__":
    main()
