"""Compute the figures of docs/careful-scientist.md: intended behaviour that is easy to miss.

    python benchmarks/surprises.py [counts] [photo]

``counts`` uses a synthetic scene with Poisson noise and an offset of 100, ``photo`` the sample *Earth
at night*.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr import InputWarning, enhance
from napari_dcr.plugin.samples import earth_at_night

Pixels = NDArray[Any]

SYMMETRIES = {"rotated by 90 degrees": 1, "rotated by 180 degrees": 2, "mirrored": 4}


def scene(height: int = 384, width: int = 448, shift: int = 0) -> Pixels:
    """Expected counts of a scene, in a field that is moved down and right by ``shift`` pixels."""
    y, x = np.mgrid[shift : height + shift, shift : width + shift]
    return 300 + 100 * np.sin(y / 9) * np.cos(x / 13)


def noisy(shift: int = 0) -> Pixels:
    """Counts of that scene; a moved field shows the same photons."""
    rng = np.random.default_rng(1)
    whole = scene(400, 464)
    counts = (rng.poisson(whole - 100) + 100).astype(np.float32)
    return counts[shift : 384 + shift, shift : 448 + shift].copy()


def turned(image: Pixels, symmetry: int) -> Pixels:
    """Rotate by quarter turns; symmetries from 4 on are also mirrored."""
    image = np.rot90(image, symmetry % 4)
    return np.ascontiguousarray(image[:, ::-1] if symmetry >= 4 else image)


def turned_back(image: Pixels, symmetry: int) -> Pixels:
    """Undo `turned`."""
    image = image[:, ::-1] if symmetry >= 4 else image
    return np.rot90(image, -(symmetry % 4))


def show(what: str, difference: Pixels, unit: str, factor: float = 1.0) -> None:
    """Print the root mean square and the largest value of a difference."""
    rms = factor * float(np.sqrt(np.mean(difference.astype(float) ** 2)))
    most = factor * float(np.abs(difference).max())
    print(f"  {what}: rms {rms:.2g} {unit}, at most {most:.3g} {unit}")


def of_counts() -> None:
    """Measure `microscopy`."""
    counts = noisy()
    plain = enhance(counts, model="microscopy")
    print("microscopy, in counts")
    show("removed noise", plain - counts, "counts")
    show("error of the result", plain - scene(), "counts")
    for name, k in SYMMETRIES.items():
        again = turned_back(enhance(turned(counts, k), model="microscopy"), k)
        show(name, again - plain, "counts")
    for shift in (1, 2, 4, 8):
        moved = enhance(noisy(shift), model="microscopy")
        inner = np.s_[110:-110, 110:-110]
        show(
            f"shifted by {shift} pixels, inner part",
            (moved[:-shift, :-shift] - plain[shift:, shift:])[inner],
            "counts",
        )
    for value in (0, 1000, 65535, 1e6):
        hot = counts.copy()
        hot[200, 220] = value
        for defects in ("off", "auto"):
            result = enhance(hot, model="microscopy", defects=defects)
            change = np.abs(result - plain)
            change[200, 220] = 0
            print(
                f"  one pixel of {value:g}, defects={defects!r}: result {result[200, 220]:.5g},"
                f" the pixels around it change by at most {change.max():.2g} counts"
            )
    whole = enhance(counts.astype(np.uint16), model="microscopy")
    show("uint16 instead of float32 (rounding)", whole - plain, "counts")
    eight = np.clip(counts / 2, 0, 255).astype(np.uint8)
    low, high = (enhance(eight, model="microscopy", precision=p) for p in ("bf16", "fp32"))
    precision("8 bits, bf16 instead of fp32", low, high)


def precision(what: str, low: Pixels, high: Pixels) -> None:
    """Print how often and by how much 8-bit results differ."""
    difference = np.abs(low.astype(int) - high.astype(int))
    print(
        f"  {what}: {100 * (difference > 0).mean():.0f} % of the values, at most {difference.max()}"
    )


def of_photo() -> None:
    """Measure `photo`."""
    eight = np.asarray(earth_at_night()[0][0])[:512, :640, :3]
    picture = (eight / 255).astype(np.float32)
    print("photo, in per cent of full range")
    for depth in (0, 3):
        plain = enhance(picture, model="photo", depth=depth)
        for name, k in SYMMETRIES.items():
            again = turned_back(enhance(turned(picture, k), model="photo", depth=depth), k)
            show(f"depth {depth}, {name}", again - plain, "%", 100)
    plain = enhance(picture, model="photo")
    swapped = enhance(np.ascontiguousarray(picture[..., ::-1]), model="photo")[..., ::-1]
    show("colours in reverse order", swapped - plain, "%", 100)
    dim = picture / 8
    stack = np.stack([dim] * 6)
    stack[3] = picture
    alone, linked = enhance(dim, model="photo"), enhance(stack, model="photo")
    apart = enhance(stack, model="photo", link_frames=False)
    print(
        f"  a dim frame (mean {100 * dim.mean():.2g} %) has a mean of {100 * alone.mean():.3g} % on its own,"
        f" {100 * linked[0].mean():.3g} % linked with a frame 8 times as bright,"
        f" and {100 * apart[0].mean():.3g} % with link_frames=False"
    )
    low, high = (enhance(eight, model="photo", precision=p) for p in ("bf16", "fp32"))
    precision("8 bits, bf16 instead of fp32", low, high)


if __name__ == "__main__":
    warnings.simplefilter("ignore", InputWarning)
    chosen = sys.argv[1:] or ["counts", "photo"]
    if "counts" in chosen:
        of_counts()
    if "photo" in chosen:
        of_photo()
