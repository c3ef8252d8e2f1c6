"""Which of the images of a TIFF is opened, and whether the file holds all of its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import napari_dcr

from .conftest import shell

SAME: dict[str, Any] = {"strength": 0, "defects": "off", "depth": 0, "device": "cpu"}


def counts(*shape: int) -> NDArray[np.uint16]:
    return np.random.default_rng(0).poisson(300, shape).astype(np.uint16)


def with_tags(path: Path, tags: dict[str, int], **how: Any) -> Path:
    """Write a TIFF, then change some of its tags."""
    tifffile.imwrite(path, counts(61, 83), **how)
    with tifffile.TiffFile(path, mode="r+b") as file:
        for name, value in tags.items():
            file.pages.first.tags[name].overwrite(value)
    return path


ABSURD = {"ImageWidth": 4_000_000_000, "ImageLength": 4_000_000_000}


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
@pytest.mark.parametrize(
    ("tags", "how", "message"),
    [
        ({"ImageLength": 610}, {}, "page 1 has 1 of its 10 strips: it is incomplete"),
        (ABSURD, {}, "page 1 has 1 of its 65573771 strips: it is incomplete"),
        ({"ImageLength": 610}, {"tile": (32, 32)}, "page 1 has 6 of its 60 tiles: it is incomplete"),
        (ABSURD, {"tile": (32, 32)}, "page 1 has 6 of its 15625000000000000 tiles: it is incomplete"),
    ],
)  # fmt: skip
def test_missing_strips_and_tiles_are_an_error_at_once(
    compression: str | None,
    tags: dict[str, int],
    how: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = with_tags(tmp_path / "in.tif", tags, compression=compression, **how)
    for call in (napari_dcr.open_image, napari_dcr.enhance):
        with pytest.raises(ValueError, match=message):
            call(source)
    assert shell(source, tmp_path / "out.tif") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [source]


def test_a_strip_that_does_not_fit_into_memory_is_an_error_at_once(tmp_path: Path) -> None:
    tags = {**ABSURD, "RowsPerStrip": ABSURD["ImageLength"]}
    source = with_tags(tmp_path / "in.tif", tags, compression="deflate")
    with pytest.raises(ValueError, match=r"its 4000000000 x 4000000000 pixels need .* of memory"):
        napari_dcr.open_image(source)


def test_tiles_without_data_are_allowed(tmp_path: Path) -> None:
    tiles = [None if n in (1, 4) else np.full((32, 32), 100 + n, np.uint16) for n in range(6)]
    with tifffile.TiffWriter(tmp_path / "in.tif") as file:
        file.write(
            iter(tiles), shape=(64, 96), dtype="uint16", tile=(32, 32), compression="deflate"
        )
    with tifffile.TiffFile(tmp_path / "in.tif") as file:
        assert 0 in file.pages.first.databytecounts
    opened = napari_dcr.open_image(tmp_path / "in.tif")
    expected = np.block([[np.zeros((32, 32)) if t is None else t for t in tiles[n : n + 3]] for n in (0, 3)])  # fmt: skip
    assert np.array_equal(opened.array[:, :], expected)


def test_one_uncompressed_strip_for_all_rows_is_allowed(tmp_path: Path) -> None:
    source = with_tags(tmp_path / "in.tif", {"RowsPerStrip": 1})
    assert np.array_equal(napari_dcr.enhance(source, **SAME), counts(61, 83))
