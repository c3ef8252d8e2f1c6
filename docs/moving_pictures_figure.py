"""Create the documentation's figure of moving pictures.

    python docs/moving_pictures_figure.py

The script pans over the sample picture of the Earth at night by 2 pixels per frame, while a lamp crosses it
at 8 pixels per frame, and adds the noise of a camera. The columns are the frame, brightened without removing
noise, the result without neighbours, the result with neighbours, and the result for the frame without noise.
The lower row shows kymographs: one line of pixels, with time downwards.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import napari_dcr
from napari_dcr.image.tone import linear_to_srgb, srgb_to_linear
from napari_dcr.plugin.samples import earth_at_night
from napari_dcr.training.evaluation.microscopy_checks import psnr

HEIGHT, WIDTH, FRAMES, SHOWN = 200, 260, 24, 12
TOP, LEFT, LINE = 420, 700, 120
SHOT, READ = 4e-4, 3e-6

picture = np.asarray(earth_at_night()[0][0])[..., :3] / 255
rng = np.random.default_rng(1)
y, x = np.mgrid[:HEIGHT, :WIDTH]
views = []
for number in range(FRAMES):
    left = LEFT + 2 * (number - SHOWN)
    view = srgb_to_linear(picture[TOP : TOP + HEIGHT, left : left + WIDTH])
    lamp = np.exp(-((y - LINE) ** 2 + (x - 30 - 8 * number) ** 2) / 10)
    views.append(view + 0.15 * lamp[..., None])
light = np.array(views)
noisy = light + np.sqrt(SHOT * light + READ) * rng.standard_normal(light.shape)
frames, clean = (
    np.rint(255 * linear_to_srgb(np.clip(values, 0, 1))).astype(np.uint8)
    for values in (noisy, light)
)
options = {"model": "photo", "axes": "tyxs"}
# The clean frames come last, so that all frames have the same tone curve.
both = np.concatenate([frames, clean])
dark = napari_dcr.enhance(both, depth=0, **options)[:FRAMES]
alone = napari_dcr.enhance(both, neighbours=0, **options)
fused = napari_dcr.enhance(both, neighbours=2, **options)[:FRAMES]
truth = alone[FRAMES:]
panels = [dark, alone[:FRAMES], fused, truth]
for name, panel in zip(("depth 0", "single frames", "neighbours"), panels, strict=False):
    print(f"{name}: {psnr(panel[2:-2].astype(float), truth[2:-2], 255.0):.2f} dB")
rows = [
    np.concatenate([panel[SHOWN] for panel in panels], 1),
    np.concatenate([np.repeat(panel[:, LINE], 4, 0) for panel in panels], 1),
]
image = Image.fromarray(np.concatenate(rows))
image.save(Path(__file__).parent / "images" / "moving-pictures.jpg", quality=88, optimize=True)
