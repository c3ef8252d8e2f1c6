"""Dtypes that do not hold the values of an image are refused, or named with the share that is lost."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.quality import assess
from napari_dcr.input_warnings import InputWarning

FAST: dict[str, Any] = {"model": "microscopy", "depth": 0, "device": "cpu", "defects": "off"}


def counts(factor: float = 1.0, offset: float = 100.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :120]
    return factor * (offset + rng.poisson(600 * (1 + np.sin(y / 7) * np.cos(x / 9))))


def said(image: NDArray[Any], **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        napari_dcr.enhance(image, **{**FAST, **options})
    texts = [str(each.message) for each in caught if each.category is InputWarning]
    return [text for text in texts if text.startswith("output: ")]


@pytest.mark.parametrize(
    ("image", "output", "reason"),
    [
        (counts().astype(np.uint16), "uint8", r"0 to 255, but image has values from 1\d\d to 1\d\d\d; \d\d\.\d% of its pixels would be clipped"),
        ((40 * counts()).astype(np.uint16), "int16", "would be clipped, because this model keeps the units"),
        (counts(1, -600).astype(np.float32), "uint16", r"but image has values from -\d+"),
        (counts(100).astype(np.float32), "float16", "-65504 to 65504"),
        (counts(1 / 2000).astype(np.float32), "uint16", "rounding would leave at most two"),
        (counts(1 / 2000).astype(np.float32), "uint8", "rounding would leave at most two"),
    ],
)  # fmt: skip
def test_dtypes_that_lose_the_image_are_refused(
    image: NDArray[Any], output: str, reason: str
) -> None:
    with pytest.raises(
        ValueError, match=f"output: got '{output}', which holds .*{reason}"
    ) as error:
        napari_dcr.enhance(image, output=output, **FAST)
    assert "allowed are 'same'" in str(error.value)


def test_a_channel_that_does_not_fit_is_named() -> None:
    image = np.stack([counts(0.1), counts()]).astype(np.uint16)
    with pytest.raises(ValueError, match="but channel 2/2 has values"):
        napari_dcr.enhance(image, output="uint8", axes="cyx", **FAST)


def test_few_pixels_and_levels_that_are_lost_are_counted() -> None:
    bright = counts().astype(np.uint16)
    bright[40:44, 40:52] += 40000
    (text,) = said(bright, output="int16")
    assert "about 0.42% of its pixels are clipped; pass output='float32'" in text
    bright = counts().astype(np.uint16)
    bright[41, 41] = 40000
    assert "single pixels are clipped" in said(bright, output="int16")[0]
    (text,) = said(counts(0.01).astype(np.float32), output="uint8")
    assert "so the result has only about 14 levels" in text
    (text,) = said((40 * counts()).astype(np.uint16), exposure=1.0)
    assert "with exposure 1, and about" in text


def test_frames_that_are_surveyed_later_do_not_stop_a_run() -> None:
    image = np.stack([counts(0.1), counts()]).astype(np.uint16)
    (text,) = said(image, output="uint8", axes="tyx", link_frames=False)
    assert "t 2/2 has values" in text


@pytest.mark.parametrize("output", ["same", "uint16", "int16", "float16", "float32", "float64"])
def test_dtypes_that_hold_the_values_give_no_warning(output: str) -> None:
    assert said(counts().astype(np.uint16), output=output) == []


@pytest.mark.parametrize("output", ["uint8", "uint16"])
def test_pictures_are_scaled_to_the_dtype(output: str) -> None:
    for image in (counts().astype(np.uint16), counts(1 / 2000).astype(np.float32)):
        assert said(image, output=output, model="photo") == []


def test_reports_tell_clipping_from_rounding() -> None:
    image = counts()
    for result, cause in (
        (image.clip(0, 255).astype(np.uint8), "clipping to uint8 changed the sum"),
        ((0.98 * image).astype(np.uint16), "rounding changed the sum"),
    ):
        report = assess([(image, result)], NoiseModel(1, 0, 4), black=100)
        assert any(cause in text for text in report.warnings)
