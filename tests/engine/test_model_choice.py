"""Tests of `model="auto"`: photo for pictures, microscopy for everything else, with a reason in the record."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.engine.model_choice import GREY, IN_COLOUR, PICTURES, choose_model
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.enhancement import Options, enhance_steps, run_to_completion
from napari_dcr.io.formats import SUFFIXES
from napari_dcr.io.opening import open_image

FAST: dict[str, Any] = {"depth": 0, "device": "cpu"}


def record_of(image: Any, **options: Any) -> dict[str, Any]:
    return run_to_completion(enhance_steps(image, Options(**FAST, **options))).record


@pytest.fixture
def grey() -> NDArray[np.uint16]:
    return np.random.default_rng(0).poisson(40, (64, 80)).astype(np.uint16)


def test_colour_is_photo_and_grey_is_microscopy(grey: NDArray[np.uint16]) -> None:
    rgb = np.stack([grey, grey, grey], -1)
    found = record_of(rgb)
    assert (found["model"], found["model_reason"]) == ("photo", IN_COLOUR)
    assert record_of(np.dstack([rgb, rgb[..., :1]]))["model"] == "photo"
    found = record_of(grey)
    assert (found["model"], found["model_reason"]) == ("microscopy", GREY)
    assert "choose photo" in GREY
    # Three channels are not colours, unless the caller defines them as colours.
    assert record_of(rgb, channel_axis=2)["model"] == "microscopy"
    assert record_of(rgb.transpose(2, 0, 1), axes="syx")["model"] == "photo"


def test_a_given_model_needs_no_reason(grey: NDArray[np.uint16]) -> None:
    found = record_of(grey, model="photo")
    assert found["model"] == "photo"
    assert "model_reason" not in found


def test_the_model_for_files_depends_on_their_format(
    tmp_path: Path, grey: NDArray[np.uint16]
) -> None:
    iio.imwrite(tmp_path / "a.png", grey)
    tifffile.imwrite(tmp_path / "a.tif", grey)
    tifffile.imwrite(tmp_path / "rgb.tif", np.stack([grey] * 3, -1), photometric="rgb")
    iio.imwrite(tmp_path / "a.gif", np.stack([grey, grey]).astype(np.uint8))
    models = {n: record_of(tmp_path / n)["model"] for n in ("a.png", "a.tif", "rgb.tif", "a.gif")}
    assert models == {"a.png": "photo", "a.tif": "microscopy", "rgb.tif": "photo", "a.gif": "photo"}
    assert record_of([tmp_path / "a.png"] * 2)["model"] == "photo"


def test_intensities_stay_proportional_without_asking(grey: NDArray[np.uint16]) -> None:
    result = napari_dcr.enhance(grey, device="cpu")
    assert abs(float(result.mean()) / float(grey.mean()) - 1) < 0.01


def test_regions_use_the_model_of_the_whole_image(grey: NDArray[np.uint16]) -> None:
    opened = open_image(grey)
    region = (slice(0, 32), slice(0, 32))
    for each, model in ((opened, "microscopy"), (dataclasses.replace(opened, is_picture=True), "photo")):  # fmt: skip
        done = run_to_completion(RegionEnhancer(each).steps(Options(**FAST), region))  # type: ignore[arg-type]
        assert done.record["model"] == model


def test_options_of_the_other_model_are_refused_with_the_reason(grey: NDArray[np.uint16]) -> None:
    with pytest.raises(ValueError, match=r"^saturation: got 0\.5 .* model microscopy, because"):
        napari_dcr.enhance(grey, saturation=0.5)
    with pytest.raises(ValueError, match=r"^return_report: got True .* model photo, because"):
        napari_dcr.enhance(np.stack([grey] * 3, -1), return_report=True)


def test_measured_values_use_microscopy_even_in_colour() -> None:
    choice = choose_model("auto", in_colour=True, is_picture=True, is_measured=True)
    assert choice.model == "microscopy"


def test_every_format_is_a_picture_or_not() -> None:
    """Every new format must be assigned to one of the two groups."""
    others = (
        ".tif .tiff .fits .fit .fts .fits.gz .fit.gz .fts.gz .fits.fz .fz .ser .lsm .stk .nd2 .czi"
        " .lif .lof .xlef .oib .oif .mrc .mrcs .map .rec .sif .ims .dcimg .dv .r3d .spe"
    )
    assert set(SUFFIXES) == PICTURES | set(others.split())
