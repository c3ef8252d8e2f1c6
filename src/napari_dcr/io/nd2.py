"""ND2, the format of Nikon microscopes, read frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.sources import Opened
from napari_dcr.io.calibration import Calibration, Channel
from napari_dcr.io.files import import_optional, stamp_of, warnings_of
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.stacks import chosen, closed_on_error, mean_step, stack


def open_nd2(path: Path, scene: int | str | None = None) -> Opened:
    """Open an ND2 without reading its pixels.

    Stage positions form an axis ``p``, unless ``scene`` selects one of them.
    """
    nd2 = import_optional("nd2", "microscopes")
    file = nd2.ND2File(path)
    with closed_on_error(file.close):
        return _opened(path, file, scene)


def _opened(path: Path, file: Any, scene: int | str | None) -> Opened:
    """Describe the image in an open file."""
    sizes = {str(letter): int(n) for letter, n in file.sizes.items()}
    unknown = set(sizes) - set("TPZCYXS")
    if unknown:
        raise ValueError(f"its axes {', '.join(sorted(unknown))} are not supported")
    positions = sizes.get("P", 1)
    position = None if scene is None else chosen([""] * positions, scene)
    stored = int(file.attributes.sequenceCount)
    frames = {tuple(sorted(place.items())): n for n, place in enumerate(file.loop_indices)}
    looped = sorted({letter for place in frames for letter, _ in place})
    has_channels = "C" in sizes

    def read(place: dict[str, int], rows: slice, columns: slice) -> NDArray[Any]:
        full = {a.upper(): i for a, i in place.items()}
        if position is not None and "P" in looped:
            full["P"] = position
        number = frames[tuple((a, full[a]) for a in looped)]
        if number >= stored:
            # The library returns zeros for frames that were never recorded, or fails.
            gone = np.zeros(plane, dtype)[rows, columns]
            return np.ma.MaskedArray(gone, np.ones(gone.shape, np.bool_))
        frame = np.asarray(file.read_frame(number))
        if has_channels and "C" not in looped:
            frame = frame.reshape(sizes["C"], *frame.shape[-3 if "S" in sizes else -2 :])[full["C"]]
        return frame[rows, columns]

    leading = {a.lower(): n for a, n in sizes.items() if a not in "YXS"}
    if position is not None:
        leading.pop("p", None)
    plane = tuple(sizes[a] for a in "YXS" if a in sizes)
    dtype = np.dtype(file.dtype)
    array, axes = stack(leading, plane, dtype, read, close=file.close)
    notes = []
    if stored < len(frames):
        notes.append(
            f"{len(frames) - stored} of its {len(frames)} frames were not recorded; they are left out of"
            " the statistics, and 0 in the result"
        )
    if "S" in sizes:
        notes.append("its colours are assumed to be stored in the order red, green, blue")
    calibration = _calibration(file, sizes, frames)
    return Opened(
        array, axes, lambda: stamp_of(path, position),
        metadata=Metadata(calibration=calibration), bits=calibration.bits,
        samples="rgb" if "S" in sizes else "", warnings=warnings_of(path, tuple(notes)),
        measured="S" not in sizes,
    )  # fmt: skip


def _calibration(file: Any, sizes: dict[str, int], frames: dict[Any, int]) -> Calibration:
    steps: dict[str, float] = {}
    units: dict[str, str] = {}
    try:
        channels = getattr(file.metadata, "channels", None) or []
    except Exception:  # nd2 raises any type of exception for unknown metadata
        channels = []
    if channels:
        known = channels[0].volume.axesCalibrated
        for axis, size, is_known in zip("xyz", file.voxel_size(), known, strict=True):
            if is_known and size > 0 and axis.upper() in sizes:
                steps[axis], units[axis] = float(size), "micrometer"
    # The loop may state a period of 0, so use the times of the frames.
    if sizes.get("T", 1) > 1:
        ends = [min((n for k, n in frames.items() if ("T", t) in k), default=None) for t in (0, sizes["T"] - 1)]  # fmt: skip
        try:
            times = [file.frame_metadata(n).channels[0].time.relativeTimeMs for n in ends]
        except (AttributeError, IndexError, TypeError, KeyError):
            times = []
        if len(times) == 2 and times[1] > times[0]:
            steps["t"], units["t"] = mean_step(times) / (sizes["T"] - 1) / 1000, "second"
    named = tuple(
        Channel(str(c.channel.name or ""), "{:02X}{:02X}{:02X}".format(*c.channel.color[:3]))
        for c in channels
    )
    bits = int(file.attributes.bitsPerComponentSignificant or 0)
    return Calibration(steps, units, {}, named, "", bits)
