"""Pairs to train on: crops with the thumbnail of the whole image they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import Dataset

from napari_dcr.image.thumbnail import Thumbnail
from napari_dcr.image.tone import Pixels
from napari_dcr.network.global_net import sample_weights
from napari_dcr.training.forward.camera import Conditions, Scene, Shot

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}


def image_files(folder: str | Path) -> list[Path]:
    """Image files of a folder, sorted by name."""
    return sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in SUFFIXES)


def load_rgb(path: Path, longest: int | None = None) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read a picture as (h, w, 3) uint8, area-reduced to at most ``longest`` pixels a side."""
    with PILImage.open(path) as file:
        picture = file.convert("RGB")
    if longest and max(picture.size) > longest:
        scale = longest / max(picture.size)
        size = (round(picture.width * scale), round(picture.height * scale))
        picture = picture.resize(size, PILImage.Resampling.BOX)
    return np.asarray(picture)


def thumbnail_of(picture: Pixels) -> Tensor:
    """Thumbnail (3, 64, 64) of a whole (h, w, 3) picture."""
    height, width = picture.shape[:2]
    thumbnail = Thumbnail(3, height, width)
    thumbnail.add(picture.transpose(2, 0, 1), 0, 0)
    return torch.from_numpy(thumbnail.mean).float()


class PhotoPairs(Dataset[dict[str, Tensor]]):
    """Endless, seeded pairs; item ``i`` is the same on every machine.

    Parameters
    ----------
    files : sequence of Path
        Clean photographs.
    crop : int
        Side of the training crop in pixels.
    length : int
        Number of items.
    seed : int
        Seed of the whole series.
    phases : mapping of int to Conditions
        What shots are drawn from, from which item on; the defaults from item 0.
    longest : int
        Photographs are reduced to at most this many pixels a side.
    """

    def __init__(
        self,
        files: Sequence[Path],
        crop: int,
        length: int,
        seed: int,
        phases: Mapping[int, Conditions] | None = None,
        longest: int = 1280,
    ) -> None:
        self.photographs = [load_rgb(path, longest) for path in files]
        self.crop, self.length, self.seed = crop, length, seed
        self.phases = {0: Conditions(), **(phases or {})}

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, index))
        photograph = self._augmented(rng)
        height, width = photograph.shape[:2]
        phase = max(start for start in self.phases if start <= index)
        shot = Shot.sample(rng, conditions=self.phases[phase])
        y = ((np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
        x = ((np.arange(width, dtype=np.float32) + 0.5) / width)[None]
        # The thumbnail sees the whole image; every third pixel is enough for its means.
        coarse, everywhere = photograph[::3, ::3], (y[::3], x[:, ::3])
        scene = Scene(coarse, shot)
        dim = scene.expose(coarse, *everywhere, rng, jpeg=False)
        top, left = (2 * int(rng.integers(0, (n - self.crop) // 2 + 1)) for n in (height, width))
        window = np.s_[top : top + self.crop, left : left + self.crop]
        place = y[window[0]], x[:, window[1]]
        return {
            "thumbnail": thumbnail_of(dim),
            "target_thumbnail": thumbnail_of(scene.print(coarse, *everywhere)),
            "input": torch.from_numpy(scene.expose(photograph[window], *place, rng)).permute(
                2, 0, 1
            ),
            "target": torch.from_numpy(scene.print(photograph[window], *place)).permute(2, 0, 1),
            "rows": sample_weights(top, top + self.crop, height, 16),
            "columns": sample_weights(left, left + self.crop, width, 16),
        }

    def _augmented(self, rng: np.random.Generator) -> Pixels:
        """A photograph at random scale, orientation and, now and then, in grey."""
        pixels = self.photographs[int(rng.integers(len(self.photographs)))]
        # Reduced and never enlarged, by filters that leave detail at the pixel's scale:
        # where only noise is that fine, it is what the network learns to take fine detail for.
        scale = rng.uniform(0.42, 1.0)
        height, width = (max(self.crop + 2, round(n * scale)) for n in pixels.shape[:2])
        sharp = (PILImage.Resampling.BICUBIC, PILImage.Resampling.LANCZOS)
        picture = PILImage.fromarray(pixels).resize((width, height), sharp[int(rng.integers(2))])
        out = np.asarray(picture, np.float32) / 255
        if rng.random() < 0.5:
            out = out[:, ::-1]
        if rng.random() < 0.3:
            out = out.transpose(1, 0, 2)
        if rng.random() < 0.1:
            out = out[::-1]
        if rng.random() < 0.08:
            out = np.repeat(out.mean(-1, keepdims=True), 3, -1)
        return np.ascontiguousarray(out)
