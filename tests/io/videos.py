"""Videos with known pixel values, written by FFmpeg's own encoders, for the tests of video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Weights of red and blue in luma, by the number of the matrix in H.273."""


def codes_of(
    rgb: NDArray[Any], matrix: int, bits: int = 8, limited: bool = True
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Convert colours from 0 to 1 to luma and colour differences by H.273, without rounding."""
    red, blue = WEIGHTS[matrix]
    luma = red * rgb[..., 0] + (1 - red - blue) * rgb[..., 1] + blue * rgb[..., 2]
    cb = (rgb[..., 2] - luma) / (2 - 2 * blue)
    cr = (rgb[..., 0] - luma) / (2 - 2 * red)
    step = 2 ** (bits - 8)
    if limited:
        return (16 + 219 * luma) * step, (128 + 224 * cb) * step, (128 + 224 * cr) * step
    white = 2**bits - 1
    return white * luma, white * cb + 128 * step, white * cr + 128 * step


def colours_of(
    y: NDArray[Any], cb: NDArray[Any], cr: NDArray[Any], matrix: int, bits: int = 8,
    limited: bool = True,
) -> NDArray[Any]:  # fmt: skip
    """Inverse of `codes_of`, clipped to [0, 1]."""
    red, blue = WEIGHTS[matrix]
    step, white = 2 ** (bits - 8), 2**bits - 1
    luma = (y / step - 16) / 219 if limited else y / white
    cb, cr = ((c / step - 128) / 224 if limited else (c - 128 * step) / white for c in (cb, cr))
    r, b = luma + cr * (2 - 2 * red), luma + cb * (2 - 2 * blue)
    return np.clip(np.stack([r, (luma - red * r - blue * b) / (1 - red - blue), b], -1), 0, 1)


def filled(fmt: str, size: tuple[int, int], planes: tuple[Any, ...]) -> Any:
    """A frame (h, w) whose planes hold some codes."""
    frame = av.VideoFrame(size[1], size[0], fmt)
    for plane, codes in zip(frame.planes, planes, strict=True):
        kind = "u1" if max(c.bits for c in frame.format.components) <= 8 else "<u2"
        view = np.frombuffer(plane, kind).reshape(plane.height, -1)
        view[:, : plane.width] = np.rint(codes)
    return frame


def of_rgb(pixels: NDArray[np.uint8], fmt: str) -> Any:
    """A frame of RGB pixels."""
    return av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=fmt)


def write(
    path: Path, frames: list[Any], codec: str = "ffv1", *, tags: dict[str, int] | None = None,
    times: list[int] | None = None, unit: Fraction = Fraction(1, 10), last: int = 1,
    options: dict[str, str] | None = None, container: dict[str, str] | None = None,
    turn: int = 0, aspect: Fraction | None = None, b_frames: int = 0, sound: str = "",
    texts: dict[str, str] | None = None,
) -> Path:  # fmt: skip
    """Write frames; times are in units, one each by default."""
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=Fraction(1 / unit), options=options or {})
        stream.width, stream.height = frames[0].width, frames[0].height
        stream.pix_fmt = frames[0].format.name
        coder = stream.codec_context
        coder.time_base, coder.max_b_frames, coder.gop_size = unit, b_frames, 10
        for name, value in (tags or {}).items():
            setattr(coder, name, value)
        if aspect:
            coder.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        file.metadata.update(texts or {})
        track = file.add_stream(sound, rate=16000) if sound else None
        at = [*(times or range(len(frames)))]
        ends = dict(zip(at, [*at[1:], at[-1] + last], strict=True))
        for number, frame in [*zip(at, frames, strict=True), (0, None)]:
            if frame is not None:
                frame.pts, frame.time_base = number, unit
                for name in ("colorspace", "color_range"):
                    if tags and name in tags:
                        setattr(frame, name, tags[name])
            for packet in stream.encode(frame):
                if not b_frames:
                    packet.duration = ends[packet.pts] - packet.pts
                file.mux(packet)
        if track is not None:
            rng = np.random.default_rng(0)
            kind = track.codec_context.format.name
            noise = rng.normal(0, 0.1, (1, 16000))
            data = (noise * 20000).astype("i2") if kind.startswith("s16") else noise.astype("f4")
            heard = av.AudioFrame.from_ndarray(data, kind, "mono")
            heard.rate = 16000
            file.mux(track.encode(heard))
            file.mux(track.encode(None))
    return path


def moving(
    count: int, height: int = 48, width: int = 64, level: float = 60
) -> list[NDArray[np.uint8]]:
    """Pictures of a pattern that moves, with noise, in colour."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    found = []
    for n in range(count):
        wave = level * (1 + 0.5 * np.sin((x + 2 * n) / 7) * np.cos(y / 5))
        picture = np.stack([wave, 0.8 * wave, 0.6 * wave], -1) + rng.normal(
            0, 2, (height, width, 3)
        )
        found.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    return found
