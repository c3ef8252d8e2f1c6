"""Sequences of images: one file for each frame, named by a pattern such as ``frame_%04d.png``."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import warn
from napari_dcr.io import tags as t
from napari_dcr.io.files import Picture, naming_result, partial_path
from napari_dcr.io.frame_sinks import FrameSink
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.video import VideoInfo

NUMBER = re.compile(r"%(0\d+)?d")
"""Placeholder for the number of the frame in a file name."""


def is_sequence(path: Path) -> bool:
    """Whether a path is a pattern with one file per frame."""
    return len(NUMBER.findall(path.name)) == 1


def existing_files(path: Path) -> list[Path]:
    """Files that a sequence would replace, with any number of digits."""
    if not path.parent.is_dir():
        return []
    return sorted(each for each in path.parent.iterdir() if is_of_sequence(each, path))


def is_of_sequence(file: Path, path: Path) -> bool:
    """Whether a file has the name of a frame of a sequence, with any number of digits.

    Examples
    --------
    >>> is_of_sequence(Path("a_12.png"), Path("a_%04d.png"))
    True
    """
    before, _, after = NUMBER.sub("\0", path.name).partition("\0")
    named = re.escape(before) + r"\d+" + re.escape(after)
    return file.parent == path.parent and re.fullmatch(named, file.name) is not None


def any_number(path: Path) -> Path:
    """The pattern of a sequence, for any number of digits."""
    return path.with_name(NUMBER.sub("%d", path.name))


def _warn_of_others(path: Path, written: set[str]) -> None:
    """Warn of frames of an earlier and longer recording, which players would show after these."""
    others = [each.name for each in existing_files(path) if each.name not in written]
    if others:
        warn(
            f"{path.name}: {len(written)} frames were written; {len(others)} other frames of this name were"
            f" there before and are kept, from {others[0]} to {others[-1]}; delete them if they"
            " belong to an earlier result"
        )


class SequenceSink(FrameSink):
    """Sink that writes images to a hidden folder, and moves them when all are complete.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
        Path whose name contains a placeholder such as ``%04d``.
    metadata : Metadata
        Metadata of the source image.
    write : callable
        Function that writes a picture to a path.
    """

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: Metadata,
        write: Callable[[Path, Picture], None],
    ) -> None:  # fmt: skip
        super().__init__(layout, dtype, path, metadata)
        self._write_picture = write
        self._partial = partial_path(path.parent / "frames")
        self._is_new_folder = not path.parent.exists()
        kept = {k: v for k, v in metadata.tags.items() if k == t.ORIENTATION}
        self._kept = Metadata(kept)
        if isinstance(metadata.native, VideoInfo) and (aspect := metadata.native.aspect) != 1:
            # Without a unit, resolutions state the shape of the pixels.
            self._kept = self._kept.with_resolution(aspect.denominator, aspect.numerator, 1)

    def _begin(self) -> None:
        self.result.parent.mkdir(exist_ok=True)
        with naming_result(self._partial, self.result.parent):
            self._partial.mkdir()

    def _place(self, number: int) -> str:
        return NUMBER.sub(lambda found: found[0] % number, self.result.name)

    def _write(self, number: int, frame: NDArray[Any]) -> None:
        pixels = frame[0] if len(frame) == 1 else np.ascontiguousarray(frame.transpose(1, 2, 0))
        axes = "yx" if len(frame) == 1 else "yxs"
        picture = Picture(pixels, axes, self._kept, self._layout.samples)
        with naming_result(self._partial, self.result.parent):
            self._write_picture(self._partial / self._place(number), picture)

    def _complete(self) -> None:
        names = [self._place(number) for number in range(self.count)]
        for name in names:
            os.replace(self._partial / name, self.result.parent / name)
        _warn_of_others(self.result, set(names))
        self._is_new_folder = False

    def _discard(self) -> None:
        shutil.rmtree(self._partial, ignore_errors=True)
        if self._is_new_folder:
            with suppress(OSError):  # the folder contains other files, or does not exist
                self.result.parent.rmdir()
