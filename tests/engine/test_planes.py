"""Tests that sensor defects are corrected in the same way in tiled, lazy, resumed and previewed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr import Defects, Options, enhance
from napari_dcr.engine import lazy, survey_blocks
from napari_dcr.engine.group_survey import survey_request
from napari_dcr.engine.region_run import RegionEnhancer
from napari_dcr.engine.survey import Surveyor
from napari_dcr.enhancement import enhance_steps, run_to_completion
from napari_dcr.image.axes import Layout
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io.opening import open_image

FAST: dict[str, Any] = {"device": "cpu", "precision": "fp32", "output": "float32", "depth": 1}


def striped(frames: int = 1, moving: bool = False, seed: int = 0) -> NDArray[np.uint16]:
    """Frames of 200 x 230 pixels with row offsets and hot pixels, some where tiles meet."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:200, :230]
    light = 40 + 30 * np.exp(-((y - 90) ** 2 + (x - 60) ** 2) / 900)
    image = 100 + rng.poisson(light, (frames, 200, 230))
    image = image + rng.normal(0, 7, (frames if moving else 1, 200, 1))
    for place in ((0, 3), (63, 64), (64, 64), (100, 129), (128, 127), (199, 229)):
        image[(slice(None), *place)] += 2000
    return np.rint(image).clip(0).astype(np.uint16)


@pytest.mark.parametrize(
    ("kind", "moving", "denoise_first"),
    [
        ("counts", False, "auto"),
        ("counts", True, "auto"),
        ("photo", False, "off"),  # the noise stage takes most of the time
        ("photo", True, "auto"),
    ],
)
def test_a_corrected_result_is_the_same_however_it_is_made(
    lively_counts: Path,
    lively_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    moving: bool,
    denoise_first: str,
) -> None:
    monkeypatch.setattr(lazy, "SMALLEST_BLOCK", 1)
    image = striped(3, moving)
    model = lively_counts if kind == "counts" else lively_model
    options = {**FAST, "model": model, "axes": "tyx", "denoise_first": denoise_first}
    done = run_to_completion(enhance_steps(image, Options(**options)))
    (found,) = done.defects
    assert found.rows is not None
    assert len(found.rows) == (3 if moving else 1)
    assert len(found.hot) == 6
    assert done.record["defects"][0]["hot_pixels"] == 6
    off = enhance(image, **options, defects="off")
    assert np.abs(off - done.image).max() > 10 * np.abs(done.image).std() / 100

    tiled = enhance(image, **options, tile=64)
    assert np.allclose(tiled, done.image, rtol=1e-5, atol=1e-4)
    delayed = enhance(da.from_array(image, chunks=(2, 65, 64)), **options)
    assert np.allclose(delayed.compute(), done.image, rtol=1e-5, atol=1e-4)
    region = (slice(1, 3), slice(60, 140), slice(50, 130))
    part = run_to_completion(
        RegionEnhancer(open_image(image)).steps(Options(**options, tile=64), region)
    )
    assert np.allclose(part.image, done.image[region], rtol=1e-5, atol=1e-4)

    source = tmp_path / "in.zarr"
    zarr.create_array(source, data=image, chunks=(1, 64, 64), dimension_names=tuple("tyx"))
    steps = enhance_steps(source, Options(**options, tile=64), tmp_path / "out.zarr", resume=True)
    for step in steps:
        if step.done:
            break
    steps.close()
    written = enhance(source, **options, tile=64, out=tmp_path / "out.zarr", resume=True)
    assert np.allclose(written[:], done.image, rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match=r"resume: .*defects"):
        enhance(
            source, **options, tile=64, out=tmp_path / "out.zarr", resume=True, defects="off"
        )  # fmt: skip


@settings(max_examples=6)
@given(
    chunks=st.tuples(st.integers(1, 3), st.integers(9, 200), st.integers(9, 230)),
    moving=st.booleans(),
    seed=st.integers(0, 3),
)
def test_found_defects_are_independent_of_chunks(
    chunks: tuple[int, int, int], moving: bool, seed: int
) -> None:
    image = striped(3, moving, seed)
    layout = Layout.resolve(image.shape, "tyx")
    request = survey_request(layout, 1, image.dtype, "auto", True, True, 3)

    def found(array: Any) -> Defects:
        source = open_image(array).source(layout)
        surveyor = Surveyor(request)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(survey_blocks, "BLOCK", 128)
            readers = [lambda rows, columns, t=t: source[t, rows, columns][None] for t in range(3)]
            list(surveyor.add_planes(readers))
        defects = surveyor.finish().defects
        assert defects is not None
        return defects

    assert found(image).sha256 == found(da.from_array(image, chunks=chunks)).sha256


def test_a_clean_image_is_treated_as_with_defects_off(lively_counts: Path) -> None:
    rng = np.random.default_rng(2)
    image = rng.poisson(30, (200, 230)).astype(np.uint16)
    options = {**FAST, "model": lively_counts}
    assert np.array_equal(enhance(image, **options), enhance(image, **options, defects="off"))


def test_defects_of_a_file_are_corrected(lively_counts: Path, tmp_path: Path) -> None:
    image = striped()[0]
    options = {**FAST, "model": lively_counts}
    out, found = enhance(image, **options, return_defects=True)
    found.save(tmp_path / "camera.npz")
    for given_ in (found, tmp_path / "camera.npz", str(tmp_path / "camera.npz")):
        again = run_to_completion(enhance_steps(image, Options(**options, defects=given_)))
        assert np.allclose(again.image, out, rtol=1e-3, atol=2)
        assert again.record["defects"][0]["sha256"] == found.sha256
    with pytest.raises(ValueError, match="defects: got those of images of 200 x 230"):
        enhance(image[:100], **options, defects=found)
    colour = np.zeros((200, 230, 3), np.uint8)
    enhance(colour, defects=Defects(200, 230), depth=0)
    with pytest.raises(FileNotFoundError):
        enhance(image, **options, defects=tmp_path / "missing.npz")


@pytest.mark.parametrize("lazily", [False, True])
def test_noise_is_measured_after_the_correction(lively_counts: Path, lazily: bool) -> None:
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:200, :230]
    light = 5 + 80 * np.exp(-((y - 90) ** 2 + (x - 60) ** 2) / 900)
    clean = (100 + rng.poisson(light, (2, 200, 230))).astype(np.uint16)
    offsets = np.rint(rng.normal(0, 20, (1, 1, 1, 230)))
    defects = Defects(200, 230, columns=offsets - offsets.min())
    given_ = clean + (offsets - offsets.min()).astype(np.uint16)[0]
    options = {**FAST, "model": lively_counts, "axes": "tyx"}
    wanted = enhance(clean, **options, defects="off")
    image = da.from_array(given_, chunks=(1, 64, 64)) if lazily else given_
    found = enhance(image, **options, defects=defects)
    assert np.allclose(found, wanted, rtol=1e-5, atol=1e-3)
    assert np.abs(enhance(given_, **options, defects="off") - offsets[0] - wanted).max() > 0.1


def test_defects_of_dark_frames_are_corrected(lively_counts: Path) -> None:
    rng = np.random.default_rng(6)
    pattern = rng.normal(0, 4, (200, 230))
    pattern[50, 60] = 3000
    dark = np.rint(100 + pattern + rng.normal(0, 2, (16, 200, 230))).clip(0).astype(np.uint16)
    image = np.rint(100 + pattern + rng.poisson(30, (200, 230))).clip(0).astype(np.uint16)
    defects = Defects.from_frames(dark)
    out = enhance(image, strength=0.0, model=lively_counts, output="float32", defects=defects)
    assert abs(out[50, 60] - 130) < 15
    good = np.arange(out.size) != 50 * 230 + 60
    assert np.std((out - image + pattern).ravel()[good]) < 1


def test_unchanged_frames_are_not_corrected(lively_model: Path) -> None:
    dark = np.zeros((200, 230, 3), np.uint8)
    dark[50, 60] = 200
    with pytest.warns(InputWarning, match="too dark to be enhanced"):
        out, found = enhance(dark, model=lively_model, return_defects=True)
    assert np.array_equal(out, dark)
    assert found.is_empty


def test_filled_pixels_are_uncertain_and_in_the_residual(lively_counts: Path) -> None:
    image = striped()[0]
    out, residual, uncertainty = enhance(
        image, **FAST, model=lively_counts, return_residual=True, return_uncertainty=True
    )
    assert np.allclose(image - out, residual)
    for place in ((0, 3), (63, 64), (100, 129)):
        assert residual[place] > 1500
        assert uncertainty[place] > 10  # the noise of a pixel is about 7


def test_each_colour_is_corrected(lively_model: Path) -> None:
    rng = np.random.default_rng(4)
    light = np.full((240, 260, 3), 60.0) * [1, 0.8, 0.6]
    rows = rng.normal(0, 3, (240, 1, 3))
    image = np.rint(light + rows + rng.normal(0, 3, light.shape)).clip(0, 255).astype(np.uint8)
    options = {"model": lively_model, "device": "cpu", "precision": "fp32"}
    out, found = napari_dcr.enhance(image, strength=0.0, **options, return_defects=True)
    assert found.rows.shape == (1, 3, 1, 240)
    before, after = (np.diff(a.astype(float).mean(1), axis=0).std() for a in (image, out))
    assert after < 0.2 * before
