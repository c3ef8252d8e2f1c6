"""Coding of the values of a PNG: transfer function and range.

Portable Network Graphics (PNG) Specification, third edition (W3C 2025), sections 4.3, 11.3.2 and 13.13.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.tone import linear_to_srgb

Chunks = tuple[tuple[bytes, bytes], ...]

_LINEAR, _SRGB = 8, 13
"""Transfer functions of ITU-T H.273."""

_ALIKE = 1.5, 3.5
"""Powers whose curves resemble that of sRGB; such values are enhanced as they are."""


@dataclass(frozen=True)
class Coding:
    """How the values of a PNG are coded.

    Attributes
    ----------
    primaries, transfer : int
        Codes of ITU-T H.273; 2 means that they are not stated. Values that `converted` makes
        display values count as sRGB.
    power : float
        Power of the values that gives linear light; 0 if they are display values.
    is_narrow : bool
        Whether black is 16 and white is 235 of 255.
    """

    primaries: int = 2
    transfer: int = 2
    power: float = 0.0
    is_narrow: bool = False

    @classmethod
    def of_chunks(cls, chunks: Chunks) -> Coding:
        """Coding that the chunks state: cICP takes precedence over iCCP, then sRGB, then gAMA."""
        found = dict(chunks)
        if len(coded := found.get(b"cICP", b"")) == 4:
            primaries, transfer, _, is_full = coded
            is_linear = transfer == _LINEAR
            return cls(primaries, _SRGB if is_linear else transfer, float(is_linear), not is_full)
        if b"iCCP" in found or b"sRGB" in found:
            return cls()
        inverse = int.from_bytes(found.get(b"gAMA", b""), "big") / 100000
        if inverse == 0 or _ALIKE[0] <= 1 / inverse <= _ALIKE[1]:
            return cls()
        return cls(power=1 / inverse)

    @property
    def differs(self) -> bool:
        """Whether the values must be converted to display values of full range."""
        return self.power > 0 or self.is_narrow

    def converted(self, pixels: NDArray[Any]) -> tuple[NDArray[np.uint16], str]:
        """Convert pixels to display values of full range, and say so.

        Parameters
        ----------
        pixels : ndarray of uint8 or uint16, shape (h, w) or (h, w, s)
            Alpha, the last of 2 or 4 samples, is only scaled to 16 bits.

        Returns
        -------
        pixels : ndarray of uint16
        note : str
        """
        bits = 8 * pixels.dtype.itemsize
        values = pixels.astype(np.float32) / np.float32(2**bits - 1)
        own: Any = ...
        if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
            own = (..., slice(pixels.shape[2] - 1))
        said = []
        if self.is_narrow:
            step = 2 ** (bits - 8)
            codes = pixels[own].astype(np.float32) / np.float32(step)
            values[own] = np.clip((codes - 16) / np.float32(219), 0, 1)
            said.append("of narrow range, in which black is 16 and white is 235 of 255")
        if self.power:
            values[own] = linear_to_srgb(values[own] ** np.float32(self.power))
            said.append(
                "linear light" if self.power == 1 else f"coded by a gamma of {1 / self.power:.4g}"
            )
        note = f"its values are {' and '.join(said)}; they are converted to sRGB of 16 bits"
        return np.rint(values * 65535).astype(np.uint16), note

    def chunks_after(self, chunks: Chunks) -> Chunks:
        """Chunks that are true for the pixels that `converted` returns."""
        kept = []
        for kind, content in chunks:
            new = content
            if kind == b"cICP" and len(content) == 4:
                new = bytes((content[0], self.transfer, content[2], 1))
            elif kind in (b"gAMA", b"iCCP", b"sRGB") and self.power:
                continue
            kept.append((kind, new))
        if self.power and b"cICP" not in dict(kept):
            kept.insert(0, (b"gAMA", (45455).to_bytes(4, "big")))
            if b"cHRM" not in dict(kept):
                kept.insert(0, (b"sRGB", b"\0"))
        return tuple(kept)
