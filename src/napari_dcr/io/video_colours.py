"""Colours of video: codes of any format to intensities.

Colours become RGB of 16 bits by the file's own matrix and range. FFmpeg's converter gives
planar RGB whose white is not full scale: 65283 of 65535 from limited range, the largest code
shifted to 16 bits from full range. That is corrected here, so that white is 65535.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BT709, BT601, BT2020 = 1, 6, 9
"""Numbers of colour matrices, as H.273 counts them."""

UNTAGGED, LIMITED, FULL = 2, 1, 2
"""Of a matrix that a file does not name; of the two ranges of codes."""

HD_LINES, HD_COLUMNS = 720, 1280
"""Size from which colours are BT.709's where the file does not say."""

MATRICES = (BT709, 4, 5, BT601, 7, BT2020)
"""Those that are converted."""

HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range."""

WHITE = 65283
"""What white of limited range is in FFmpeg's planar RGB of 16 bits, whatever its bits are."""


@dataclass(frozen=True)
class Colours:
    """How the codes of a video become intensities.

    Attributes
    ----------
    is_grey, is_rgb : bool
        Whether there is one component; whether these are red, green and blue.
    bits : int
    matrix : int
        That is used.
    limited : bool
        Whether grey codes leave room below black and above white.
    """

    is_grey: bool
    is_rgb: bool
    bits: int
    matrix: int
    limited: bool

    @classmethod
    def of(cls, frame: Any, notes: list[str]) -> Colours:
        """What a frame's format and tags say; what was assumed is noted."""
        name, components = frame.format.name, frame.format.components
        if name.startswith(("bayer", "xyz")):
            raise ValueError(f"its pixels are {name}, which is not converted; convert it to RGB")
        bits = max(c.bits for c in components)
        grey = name.startswith(("gray", "ya", "mono"))
        rgb = bool(frame.format.is_rgb) or name == "pal8"
        matrix = frame.colorspace
        if matrix not in (0, UNTAGGED, 3, *MATRICES) and not grey and not rgb:
            raise ValueError(
                f"its colours have the matrix {matrix} of H.273, which is not converted; convert it"
                " to BT.709, for example with ffmpeg"
            )
        if not grey and not rgb and matrix not in MATRICES:
            matrix = BT601
            if frame.height >= HD_LINES or frame.width >= HD_COLUMNS:
                matrix = BT709
                notes.append(
                    "it does not say how its colours are coded; BT.709 is assumed, as is usual from"
                    f" {HD_LINES} lines"
                )
        if frame.color_trc in HDR:
            notes.append(
                f"it has high dynamic range ({HDR[frame.color_trc]}): its coded values are enhanced as"
                " they are, and a video keeps the transfer function and 10 bits"
            )
        return cls(grey, rgb, bits, matrix, grey and frame.color_range == LIMITED)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of pixels: grey codes as they are, colours in 16 bits."""
        if self.is_grey and self.bits == 32:
            return np.dtype(np.float32)
        return np.dtype(
            np.uint8 if self.is_grey and self.bits <= 8 and not self.limited else np.uint16
        )

    def pixels(self, frame: Any) -> NDArray[Any]:
        """Pixels (h, w), or (h, w, 3), of a frame."""
        if self.is_grey:
            return self._grey(frame)
        out = np.empty((frame.height, frame.width, 3), np.uint16)
        white = WHITE
        if self.is_rgb:
            depth = max(c.bits for c in frame.format.components)
            is_planar = frame.format.name.startswith(("gbrp", "gbrap"))
            if depth <= 8:  # converted to more bits they would be rounded
                planar, white = frame.reformat(format="gbrp"), 255
            elif is_planar and depth < 16:
                planar, white = frame.reformat(format=f"gbrp{depth}le"), (1 << depth) - 1
            else:
                planar, white = frame.reformat(format="gbrp16le"), 65535 if depth == 16 else WHITE
        else:
            frame.colorspace = self.matrix
            if frame.color_range == FULL:
                depth = frame.format.components[0].bits
                white = ((1 << depth) - 1) << (16 - depth)
            planar = frame.reformat(format="gbrp16le")
        for plane, place in zip(planar.planes, (1, 2, 0), strict=True):
            to_full_scale(codes_of(plane, frame.width, frame.height), white, out[..., place])
        return out

    def _grey(self, frame: Any) -> NDArray[Any]:
        name = (
            "gray" if self.bits <= 8 else "grayf32le" if self.bits == 32 else f"gray{self.bits}le"
        )
        if frame.format.name != name:
            frame = frame.reformat(format=name)
        kind = {"gray": "u1", "grayf32le": "<f4"}.get(name, "<u2")
        codes = codes_of(frame.planes[0], frame.width, frame.height, kind)
        if not self.limited:
            return np.array(codes, self.dtype)  # the decoder may go on using its own
        step = 1 << (self.bits - 8)
        level = (codes.astype(np.float32) - 16 * step) * np.float32(65535 / (219 * step))
        return np.clip(np.rint(level), 0, 65535).astype(np.uint16)


def codes_of(plane: Any, width: int, height: int, kind: str = "") -> NDArray[Any]:
    """View of the codes of a plane (h, w)."""
    stored = np.dtype(kind or ("<u2" if plane.line_size >= 2 * width else "u1"))
    return np.frombuffer(plane, stored).reshape(height, -1)[:, :width]


def to_full_scale(codes: NDArray[Any], white: int, out: NDArray[np.uint16]) -> None:
    """Scale codes to 65535 at white, rounded to one; done in integers, which is many times faster."""
    if white == 65535:
        out[:] = codes
    elif white < 32768:  # few bits
        table = np.rint(np.arange(white + 1) * (65535 / white)).astype(np.uint16)
        out[:] = table[np.minimum(codes, white)]
    else:
        codes = np.minimum(codes, np.uint16(white))
        steps = round(white / (65535 - white))
        more = codes + np.uint16(min(steps // 2, 65535 - white))
        more //= np.uint16(steps)
        np.add(codes, more, out=out)
