"""Quality of files that are compressed with loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.io import formats, writing
from napari_dcr.io.files import Picture
from napari_dcr.io.metadata import Metadata

from .conftest import FAST, dim_colour, shell


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".jpg", "uint8"), (".jpeg", "uint8"), (".heic", "uint8"), (".heif", "uint16"),
        (".hif", "uint8"), (".avif", "uint8"), (".avif", "uint16"),
    ],
)  # fmt: skip
def test_quality_sets_the_size_of_pictures(suffix: str, dtype: str, tmp_path: Path) -> None:
    picture = Picture(dim_colour(60, 90).astype(dtype), "yxs", Metadata(), "rgb")
    if dtype == "uint16":
        picture.pixels[...] *= 257
    sizes = []
    for quality in (0, 40, 80):
        path = tmp_path / f"{quality}{suffix}"
        writing.write(path, picture, quality)
        sizes.append(path.stat().st_size)
    writing.write(tmp_path / f"default{suffix}", picture)
    sizes.append((tmp_path / f"default{suffix}").stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[1]


def test_the_shell_and_numbered_images_use_the_quality(tmp_path: Path) -> None:
    PILImage.fromarray(dim_colour(60, 90)).save(tmp_path / "in.png")
    frames = np.stack([dim_colour(60, 90)] * 2)
    sizes: dict[str, list[int]] = {"shell": [], "frames": []}
    for quality in (10, 90):
        path = tmp_path / f"{quality}.jpg"
        arguments = ("--quality", str(quality), "--strength", "0", "--defects", "off")
        assert shell(tmp_path / "in.png", path, *arguments) == 0
        sizes["shell"].append(path.stat().st_size)
        pattern, same = f"{quality}_%d.jpg", {**FAST, "strength": 0.0, "defects": "off"}
        napari_dcr.enhance(frames, out=tmp_path / pattern, axes="tyxs", quality=quality, **same)
        sizes["frames"].append((tmp_path / f"{quality}_0.jpg").stat().st_size)
    assert all(low < 0.6 * high for low, high in sizes.values())


LOSSLESS = sorted({*formats.WRITTEN, formats.ZARR} - {*formats.WITH_QUALITY, ".dng"})


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_formats_without_a_quality_refuse_it(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    PILImage.fromarray(dim_colour(60, 90)).save(tmp_path / "in.png")
    before = sorted(tmp_path.iterdir())
    assert shell(tmp_path / "in.png", tmp_path / f"out{suffix}", "--quality", "5") == 1
    message = f"quality: got 5 for the output out{suffix}, which has no quality; allowed with .jpg"
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("quality", [-1, 101, 50.5, True, "high"])
def test_a_quality_that_is_not_allowed_is_named(quality: Any) -> None:
    with pytest.raises(ValueError, match=r"^quality: got .*; allowed are 0 to 100"):
        formats.check_quality(quality, "x.jpg")
    with pytest.raises(ValueError, match="quality: got 5 for an out that is no file"):
        formats.check_quality(5, None)
