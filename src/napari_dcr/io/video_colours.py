"""Colours of video: convert the codes of any pixel format to intensities.

Colours are converted to 16-bit RGB with the file's matrix and range. White in the planar RGB of
FFmpeg's converter is less than full scale: 65283 for limited range, and the largest code shifted to
16 bits for full range. This module scales it to 65535.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BT709, BT601, BT2020 = 1, 6, 9
"""Codes of colour matrices in ITU-T H.273."""

UNTAGGED, LIMITED, FULL = 2, 1, 2
"""Code of an unspecified matrix, and codes of limited and full range."""

HD_LINES, HD_COLUMNS = 720, 1280
"""Number of rows, and of columns, from which BT.709 is assumed if the file names no matrix."""

MATRICES = (BT709, 4, 5, BT601, 7, BT2020)
"""Matrices that can be converted."""

HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range."""

WHITE = 65283
"""White of limited range in FFmpeg's 16-bit planar RGB, for any bit depth of the source."""


@dataclass(frozen=True)
class Colours:
    """Conversion of the codes of a video to intensities.

    Attributes
    ----------
    is_grey, is_rgb : bool
        Whether there is one component; whether the components are red, green and blue.
    bits : int
        Bit depth of the codes.
    matrix : int
        Code of the colour matrix that is used.
    limited : bool
        Whether grey codes have limited range.
    """

    is_grey: bool
    is_rgb: bool
    bits: int
    matrix: int
    limited: bool

    @classmethod
    def of(cls, frame: Any, notes: list[str]) -> Colours:
        """Determine the conversion from the format and tags of a frame; assumptions become notes."""
        name, components = frame.format.name, frame.format.components
        if name.startswith(("bayer", "xyz")):
            raise ValueError(f"its pixels are {name}, which is not converted; convert it to RGB")
        bits = max(c.bits for c in components)
        grey = name.startswith(("gray", "ya", "mono")) or _palette(frame) is not None
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
                    "it does not say how its colours are coded; BT.709 is assumed, as is usual for"
                    f" videos of {HD_LINES} lines or more"
                )
        if frame.color_trc in HDR:
            notes.append(
                f"it has high dynamic range ({HDR[frame.color_trc]}): its coded values are enhanced as"
                " they are, and a video keeps the transfer function and 10 bits"
            )
        limited = grey and name != "pal8" and frame.color_range == LIMITED
        return cls(grey, rgb and not grey, bits, matrix, limited)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels: that of grey codes, or uint16 for colours."""
        if self.is_grey and self.bits == 32:
            return np.dtype(np.float32)
        return np.dtype(
            np.uint8 if self.is_grey and self.bits <= 8 and not self.limited else np.uint16
        )

    def pixels(self, frame: Any) -> NDArray[Any]:
        """Pixels (h, w), or (h, w, 3), of a frame; each colour is contiguous in memory."""
        if self.is_grey:
            return self._grey(frame)
        out = np.empty((3, frame.height, frame.width), np.uint16)
        white = WHITE
        if self.is_rgb:
            depth = max(c.bits for c in frame.format.components)
            is_planar = frame.format.name.startswith(("gbrp", "gbrap"))
            if depth <= 8:  # a conversion to more bits would round them
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
            to_full_scale(codes_of(plane, frame.width, frame.height), white, out[place])
        return out.transpose(1, 2, 0)

    def _grey(self, frame: Any) -> NDArray[Any]:
        if (palette := _palette(frame)) is not None:
            return palette[codes_of(frame.planes[0], frame.width, frame.height, "u1")]
        name = (
            "gray" if self.bits <= 8 else "grayf32le" if self.bits == 32 else f"gray{self.bits}le"
        )
        if frame.format.name != name:
            frame = frame.reformat(format=name)
        kind = {"gray": "u1", "grayf32le": "<f4"}.get(name, "<u2")
        codes = codes_of(frame.planes[0], frame.width, frame.height, kind)
        if not self.limited:
            return np.array(codes, self.dtype)  # the decoder may reuse its own memory
        step = 1 << (self.bits - 8)
        level = (codes.astype(np.float32) - 16 * step) * np.float32(65535 / (219 * step))
        return np.clip(np.rint(level), 0, 65535).astype(np.uint16)


def _palette(frame: Any) -> NDArray[np.uint8] | None:
    """Grey of each code, of frames with a palette that holds nothing else, as of ImageJ's AVI."""
    if frame.format.name != "pal8":
        return None
    entries = np.frombuffer(frame.planes[1], np.uint8).reshape(-1, 4)[:256, :3]
    return entries[:, 0].copy() if (entries == entries[:, :1]).all() else None


def codes_of(plane: Any, width: int, height: int, kind: str = "") -> NDArray[Any]:
    """View of the codes of a plane (h, w)."""
    stored = np.dtype(kind or ("<u2" if plane.line_size >= 2 * width else "u1"))
    return np.frombuffer(plane, stored).reshape(height, -1)[:, :width]


def to_full_scale(codes: NDArray[Any], white: int, out: NDArray[np.uint16]) -> None:
    """Scale codes (h, w) so that white is 65535, in integer arithmetic, which is many times faster."""
    if white == 65535:
        out[:] = codes
    elif white < 32768:  # few bits
        table = np.rint(np.arange(white + 1) * (65535 / white)).astype(np.uint16)
        out[:] = table[np.minimum(codes, white)]
    else:
        steps = round(white / (65535 - white))
        np.minimum(codes, np.uint16(white), out=out)
        more = out + np.uint16(min(steps // 2, 65535 - white))
        more //= np.uint16(steps)
        out += more
