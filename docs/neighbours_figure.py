"""Create the documentation's figure of neighbouring frames.

    python docs/neighbours_figure.py

The script simulates a recording of 10 photons: cells that drift by half a pixel per frame, a vesicle
that crosses them at 6 pixels per frame, and a flash in a single frame. The columns are the recording,
the result without neighbours, the result with neighbours, and the expected image. The upper row shows
one frame. The lower row shows kymographs: one line of pixels, with time downwards.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import napari_dcr
from napari_dcr.training.evaluation.microscopy_checks import psnr
from napari_dcr.training.forward.cells import cultured_scene
from napari_dcr.training.forward.instruments import Scmos
from napari_dcr.training.sequences import Stage

SIZE, FRAMES, SHOWN, LINE = 256, 48, 24, 110

rng = np.random.default_rng(3)
camera = Scmos(tail=0.2)
stage = Stage(cultured_scene(SIZE + 64, np.random.default_rng(7)), SIZE, rng)
y, x = np.mgrid[:SIZE, :SIZE]
flash = np.exp(-((y - LINE) ** 2 + (x - 190) ** 2) / 60)
light = []
for number in range(FRAMES):
    place = 6 * number - 20
    vesicle = np.exp(-((y - LINE) ** 2 + (x - place) ** 2) / 8)
    light.append(stage.seen(0.0, 0.5 * (number - FRAMES // 2)) + 0.9 * vesicle)
light[SHOWN] += 1.0 * flash
photons = 10 * (0.95 * np.array(light, np.float64) + 0.05)
expected = camera.noise.offset + camera.noise.gain * photons
recording = np.rint(camera.expose(photons, rng)).clip(0, 65535).astype(np.uint16)
options = {"model": "microscopy", "axes": "tyx", "output": "float32"}
alone = napari_dcr.enhance(recording, neighbours=0, **options)
fused, report = napari_dcr.enhance(recording, neighbours=2, return_report=True, **options)
print(report.neighbours)
panels = [recording, alone, fused, expected]
for name, panel in zip(("recording", "single frames", "neighbours"), panels, strict=False):
    print(f"{name}: {psnr(panel, expected, float(np.ptp(expected))):.2f} dB")
low, high = np.quantile(expected, [0.001, 0.9995])
rows = [
    np.concatenate([panel[SHOWN, 30:200] for panel in panels], 1),
    np.concatenate([np.repeat(panel[:, LINE], 3, 0) for panel in panels], 1),
]
shown = np.clip((np.concatenate(rows) - low) / (high - low), 0, 1) ** 0.7
picture = Image.fromarray((255 * shown).astype(np.uint8))
picture.quantize(64).save(Path(__file__).parent / "images" / "neighbours.png", optimize=True)
