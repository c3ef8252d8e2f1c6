"""Training pairs of photographs: crops, with the thumbnail of the whole picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor
from torch.utils.data import Dataset

from napari_dcr.image.thumbnail import Thumbnail
from napari_dcr.image.tone import Pixels, linear_to_srgb
from napari_dcr.network.global_net import sample_weights
from napari_dcr.training.forward.camera import Kind, Scene
from napari_dcr.training.forward.graphics import draw, draw_room
from napari_dcr.training.forward.shot import LUMA, Conditions, Shot

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"}
RADIANCE = {".hdr", ".exr"}

MOST = 540
"""Largest shorter side, in pixels, of pictures from which crops are taken."""

SPARSE = 3
"""Step in pixels at which whole pictures are sampled; enough for thumbnails and exposures."""


def image_files(folder: str | Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """Image files of a folder, sorted by name."""
    return sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in suffixes)


def load_radiance(path: Path) -> Pixels:
    """Read a Radiance or OpenEXR picture: (h, w, 3) float32 of linear light.

    Negative values, which result from colour-space conversions, become 0.
    """
    if path.suffix.lower() == ".hdr":
        import imagecodecs

        pixels = imagecodecs.rgbe_decode(path.read_bytes())
    else:
        import OpenEXR

        with OpenEXR.File(str(path)) as file:
            channels = file.channels()
            pixels = next(c.pixels for c in channels.values() if c.pixels.ndim == 3)
    return np.maximum(np.nan_to_num(pixels[..., :3]), 0).astype(np.float32)


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


def positions(height: int, width: int) -> tuple[Pixels, Pixels]:
    """Positions of the centres of pixels, (h, 1) and (1, w), relative to the sides of the picture."""
    y, x = ((np.arange(n, dtype=np.float32) + 0.5) / n for n in (height, width))
    return y[:, None], x[None]


class PhotoPairs(Dataset[dict[str, Tensor]]):
    """Seeded training pairs; item ``i`` is the same on every machine.

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
        Conditions from which shots are drawn, by the first item that they apply to.
    shares : sequence of float, optional
        Relative frequency of each file; equal if not given.
    drawn : float
        Share of items that are drawings (`napari_dcr.training.forward.graphics`).
    rooms : float
        Share of items that are drawn rooms, which are treated like photographs.
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
        shares: Sequence[float] | None = None,
        drawn: float = 0.0,
        longest: int = 2560,
        rooms: float = 0.0,
    ) -> None:
        self.pictures = [
            load_radiance(p) if p.suffix.lower() in RADIANCE else load_rgb(p, longest)
            for p in files
        ]
        weights = np.ones(len(files)) if shares is None else np.asarray(shares, float)
        self.shares = weights / weights.sum()
        self.crop, self.length, self.seed = crop, length, seed
        self.drawn, self.rooms = drawn, rooms
        self.phases = {0: Conditions(), **(phases or {})}

    def __len__(self) -> int:
        return self.length

    def scene(self, index: int) -> tuple[Pixels, Scene, np.random.Generator]:
        """Draw the whole picture of an item, its scene, and the random generator of everything else."""
        rng = np.random.default_rng((self.seed, index))
        photograph, kind = self._augmented(rng)
        phase = max(start for start in self.phases if start <= index)
        shot = Shot.sample(rng, conditions=self.phases[phase])
        if shot.grey:
            photograph = np.repeat((photograph @ LUMA)[..., None], 3, -1)
        return photograph, Scene(photograph[::SPARSE, ::SPARSE], shot, kind), rng

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        photograph, scene, rng = self.scene(index)
        height, width = photograph.shape[:2]
        y, x = positions(height, width)
        coarse, everywhere = photograph[::SPARSE, ::SPARSE], (y[::SPARSE], x[:, ::SPARSE])
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
            "careful": torch.from_numpy(
                scene.print(photograph[window], *place, sharpened=False)
            ).permute(2, 0, 1),
            "rows": sample_weights(top, top + self.crop, height, 16),
            "columns": sample_weights(left, left + self.crop, width, 16),
            "kept": torch.tensor(scene.kept),
        }

    def _augmented(self, rng: np.random.Generator) -> tuple[Pixels, Kind]:
        """Draw a part of a picture at random scale and orientation, or a drawing."""
        choice = rng.random()
        if choice < self.drawn + self.rooms:
            height, width = (int(n) for n in rng.integers(max(self.crop + 2, 256), 520, 2))
            kind: Kind = "graphics" if choice < self.drawn else "photograph"
            drawing = (draw if kind == "graphics" else draw_room)(rng, height, width)
            return drawing.astype(np.float32) / 255, kind
        pixels = self.pictures[int(rng.choice(len(self.pictures), p=self.shares))]
        pixels = self._part(pixels, rng)
        # Pictures are reduced by sharp filters and never enlarged. Otherwise only noise would have
        # detail at the scale of a pixel, and the network would learn to remove such detail.
        scale = min(rng.uniform(0.42, 1.0), MOST / min(pixels.shape[:2]))
        height, width = (max(self.crop + 2, round(n * scale)) for n in pixels.shape[:2])
        kind = "photograph"
        if pixels.dtype == np.uint8:
            sharp = (PILImage.Resampling.BICUBIC, PILImage.Resampling.LANCZOS)
            picture = PILImage.fromarray(pixels).resize(
                (width, height), sharp[int(rng.integers(2))]
            )
            out = np.asarray(picture, np.float32) / 255
        else:
            kind = "radiance"
            out = _exposed(_reduced(pixels, height, width), rng.uniform(0.3, 0.5))
        if rng.random() < 0.5:
            out = out[:, ::-1]
        if rng.random() < 0.3:
            out = out.transpose(1, 0, 2)
        if rng.random() < 0.1:
            out = out[::-1]
        return np.ascontiguousarray(out), kind

    def _part(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Draw a part of a picture: at least 420 pixels a side, and nearly all of a small picture."""
        height, width = pixels.shape[:2]
        short = min(height, width)
        least = min(max(420, self.crop + 2) / short, 0.85)
        share = float(np.exp(rng.uniform(np.log(least), 0)))
        rows, columns = (min(n, max(self.crop + 2, round(n * share))) for n in (height, width))
        top, left = (int(rng.integers(0, n - m + 1)) for n, m in ((height, rows), (width, columns)))
        return pixels[top : top + rows, left : left + columns]


def _reduced(pixels: Pixels, height: int, width: int) -> Pixels:
    """Reduce (h, w, 3) floats with a filter that makes no ringing around lamps."""
    planes = (np.ascontiguousarray(p) for p in pixels.transpose(2, 0, 1))
    size = (width, height)
    resized = [PILImage.fromarray(p).resize(size, PILImage.Resampling.BILINEAR) for p in planes]
    return np.stack([np.asarray(p) for p in resized], -1)


def _exposed(radiance: Pixels, key: float) -> Pixels:
    """Scale radiance so that its picture, clipped at white, has a mean luma of ``key``."""
    low, high = 1e-6, 1e6
    some = radiance[::4, ::4]
    for _ in range(24):
        gain = float(np.sqrt(low * high))
        mean = float((linear_to_srgb(np.clip(some * np.float32(gain), 0, 1)) @ LUMA).mean())
        low, high = (gain, high) if mean < key else (low, gain)
    return (radiance * np.float32(gain)).astype(np.float32)
