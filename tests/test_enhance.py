"""enhance(): every kind of array in, the right kind out."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import napari_dcr
from napari_dcr.enhancement import drain
from napari_dcr.image.intensity import DTYPES

FAST = {"depth": 1, "device": "cpu", "precision": "fp32"}


def as_dtype(picture: NDArray[np.uint8], dtype: str) -> NDArray[Any]:
    if np.dtype(dtype).kind == "f":
        return (picture / 255).astype(dtype)
    return (picture.astype(np.int64) * np.iinfo(dtype).max // 255).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ["rgb", "rgba", "grey", "channels", "stack", "rgb stack"])
def test_every_kind_of_image(dim_rgb: NDArray[np.uint8], dtype: str, shape: str) -> None:
    rgb = as_dtype(dim_rgb, dtype)
    alpha = np.full_like(rgb[..., :1], 7 if np.dtype(dtype).kind != "f" else 0.5)
    image, arguments = {
        "rgb": (rgb, {}),
        "rgba": (np.concatenate([rgb, alpha], -1), {}),
        "grey": (rgb[..., 0], {}),
        "channels": (rgb[..., :2].transpose(2, 0, 1), {"channel_axis": 0}),
        "stack": (np.stack([rgb[..., 0], rgb[..., 1]]), {"axes": "tyx"}),
        "rgb stack": (np.stack([rgb, rgb]), {}),
    }[shape]
    image = np.ascontiguousarray(image)
    before = image.copy()
    result = napari_dcr.enhance(image, **FAST, **arguments)
    assert result.dtype == image.dtype
    assert result.shape == image.shape
    assert (image == before).all()
    assert result is not image
    colours, bright = (image[..., :3], result[..., :3]) if shape == "rgba" else (image, result)
    assert bright.astype(float).mean() > 1.5 * colours.astype(float).mean()
    if shape == "rgba":
        assert (result[..., 3] == image[..., 3]).all()


@settings(max_examples=25)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    samples=st.sampled_from([None, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    value=st.integers(0, 255),
)
def test_any_size_and_any_constant(
    height: int, width: int, samples: int | None, dtype: str, value: int
) -> None:
    shape = (height, width) if samples is None else (height, width, samples)
    image = as_dtype(np.full(shape, value, np.uint8), dtype)
    result = napari_dcr.enhance(image, **FAST, rgb=samples is not None)
    assert result.shape == shape
    assert np.isfinite(result.astype(float)).all()


@pytest.mark.parametrize("output", DTYPES)
def test_output_dtype_and_range(dim_rgb: NDArray[np.uint8], output: str) -> None:
    result = napari_dcr.enhance(dim_rgb, **FAST, output=output)
    reference = napari_dcr.enhance(dim_rgb, **FAST, output="float32")
    assert result.dtype == output
    full = 1.0 if np.dtype(output).kind == "f" else np.iinfo(output).max
    assert np.abs(result / full - reference).max() < (
        2e-3 if output in ("uint8", "float16") else 1e-4
    )
    assert reference.min() >= 0
    assert reference.max() <= 1


def test_strength_0_is_the_input_to_the_last_bit(dim_rgb: NDArray[np.uint8]) -> None:
    for dtype in DTYPES:
        image = as_dtype(dim_rgb, dtype)
        assert (napari_dcr.enhance(image, **FAST, strength=0) == image).all()
    offset = np.linspace(-300, 7000, 64 * 64).reshape(64, 64)
    assert (napari_dcr.enhance(offset, **FAST, strength=0) == offset).all()


def test_strength_and_exposure_are_monotone(dim_rgb: NDArray[np.uint8]) -> None:
    def mean(**arguments: float) -> float:
        return float(napari_dcr.enhance(dim_rgb, **FAST, output="float32", **arguments).mean())

    for name, values in (("strength", (0, 0.3, 0.7, 1)), ("exposure", (-2, -1, 0, 1, 2))):
        means = [mean(**{name: v}) for v in values]
        assert means == sorted(means)
        assert len(set(means)) == len(means)


def test_what_is_not_finite_stays_and_harms_nothing_else() -> None:
    rng = np.random.default_rng(0)
    clean = (rng.random((200, 220)) * 0.1).astype(np.float32)
    dirty = clean.copy()
    dirty[10, 10], dirty[20, 20], dirty[30, 30] = np.nan, np.inf, -np.inf
    result = napari_dcr.enhance(dirty, **FAST)
    assert np.isnan(result[10, 10])
    assert result[20, 20] == np.inf
    assert result[30, 30] == -np.inf
    far = np.s_[100:, 100:]
    assert np.abs(result[far] - napari_dcr.enhance(clean, **FAST)[far]).max() < 0.01
    assert np.isfinite(
        np.delete(result.ravel(), [10 * 220 + 10, 20 * 220 + 20, 30 * 220 + 30])
    ).all()
    assert napari_dcr.enhance(dirty, **FAST, output="uint8").dtype == np.uint8
    assert np.isfinite(napari_dcr.enhance(np.full((9, 9), np.nan), **FAST, output="uint8")).all()


def test_channels_are_enhanced_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    channels = rng.integers(0, 60, (2, 50, 60), np.uint8)
    silenced = channels.copy()
    silenced[1] = 0
    both = napari_dcr.enhance(channels, **FAST, channel_axis=0)
    one = napari_dcr.enhance(silenced, **FAST, channel_axis=0)
    assert (both[0] == one[0]).all()
    assert (napari_dcr.enhance(channels[0], **FAST) == both[0]).all()


def test_linked_frames_share_a_curve_and_unlinked_do_not() -> None:
    rng = np.random.default_rng(2)
    stack = np.stack([rng.integers(0, top, (64, 64), np.uint8) for top in (20, 120)])
    linked = napari_dcr.enhance(stack, **{**FAST, "depth": 0}, axes="tyx")
    alone = napari_dcr.enhance(stack, **{**FAST, "depth": 0}, axes="tyx", link_frames=False)
    # A grey level means the same in every linked frame.
    tables = [
        {int(v): int(r) for v, r in zip(f.ravel(), g.ravel(), strict=True)}
        for f, g in zip(stack, linked, strict=True)
    ]
    common = tables[0].keys() & tables[1].keys()
    assert all(tables[0][v] == tables[1][v] for v in common)
    assert (alone[0] == napari_dcr.enhance(stack[0], **{**FAST, "depth": 0})).all()
    assert (alone != linked).any()


def test_flicker_of_a_constant_scene_is_below_half_a_percent() -> None:
    rng = np.random.default_rng(3)
    scene = 12 + 10 * np.sin(np.arange(256) / 9)[:, None] * np.cos(np.arange(256) / 13)
    stack = np.clip(scene + rng.normal(0, 3, (30, 256, 256)), 0, 255).astype(np.uint8)
    means = napari_dcr.enhance(stack, **FAST, axes="tyx").mean((1, 2))
    assert np.ptp(means) / means.mean() < 0.005


def test_byte_order_and_strides_do_not_matter(dim_rgb: NDArray[np.uint8]) -> None:
    wide = as_dtype(dim_rgb, "uint16")
    expected = napari_dcr.enhance(wide, **FAST)
    assert (napari_dcr.enhance(wide.astype(">u2"), **FAST) == expected).all()
    strided = np.asfortranarray(wide)
    assert (napari_dcr.enhance(strided, **FAST) == expected).all()
    read_only = wide.copy()
    read_only.flags.writeable = False
    assert (napari_dcr.enhance(read_only, **FAST) == expected).all()


def test_out_is_filled_and_checked(dim_rgb: NDArray[np.uint8]) -> None:
    out = np.empty_like(dim_rgb)
    assert napari_dcr.enhance(dim_rgb, **FAST, out=out) is out
    assert (out == napari_dcr.enhance(dim_rgb, **FAST)).all()
    with pytest.raises(ValueError, match="^out: got an array that shares memory"):
        napari_dcr.enhance(dim_rgb, out=dim_rgb)
    with pytest.raises(ValueError, match="^out: got shape"):
        napari_dcr.enhance(dim_rgb, out=out[1:])
    with pytest.raises(TypeError, match="^out: got list"):
        napari_dcr.enhance(dim_rgb, out=[])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"image": np.zeros((9, 9), bool)}, TypeError, "image: got dtype bool; allowed are uint8"),
        ({"image": np.zeros((9, 9), np.int64)}, TypeError, "image: got dtype int64"),
        ({"image": np.zeros((9, 9), complex)}, TypeError, "image: got dtype complex128"),
        ({"image": [[1, 2]]}, TypeError, "image: got list"),
        (
            {"model": "foto"},
            ValueError,
            "model: got 'foto'; allowed are 'auto', 'microscopy', 'photo'",
        ),
        ({"model": 3}, TypeError, "model: got 3"),
        ({"depth": 4}, ValueError, "depth: got 4; the model 'photo' allows 0 to 3"),
        ({"depth": -1}, ValueError, "depth: got -1"),
        ({"depth": 1.5}, ValueError, "depth: got 1.5"),
        ({"detail": 1}, TypeError, "detail: got 1"),
        ({"strength": 1.1}, ValueError, "strength: got 1.1; allowed are numbers from 0 to 1"),
        ({"strength": "1"}, TypeError, "strength: got '1'"),
        ({"exposure": float("nan")}, ValueError, "exposure: got nan"),
        ({"input_range": (5, 5)}, ValueError, "input_range: got .5, 5."),
        ({"input_range": "full"}, ValueError, "input_range: got 'full'"),
        ({"output": "int8"}, ValueError, "output: got 'int8'"),
        ({"tile": 32}, ValueError, "tile: got 32; allowed are 'auto' and integers from 64"),
        ({"device": "tpu"}, ValueError, "device: got 'tpu'; allowed here are 'auto', .*'cpu'"),
        ({"precision": "int8"}, ValueError, "precision: got 'int8'"),
        ({"axes": "zz"}, ValueError, "axes: got 'zz'"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        napari_dcr.enhance(**{"image": np.zeros((9, 9), np.uint8), **arguments})


def test_defaults_stand_in_one_place() -> None:
    signature = inspect.signature(napari_dcr.enhance).parameters
    for name, field in napari_dcr.Options.__dataclass_fields__.items():
        assert signature[name].default == field.default


def test_record_says_how_it_came_about(dim_rgb: NDArray[np.uint8]) -> None:
    enhancement = drain(
        napari_dcr.enhance_steps(dim_rgb, napari_dcr.Options(depth=2, device="cpu"))
    )
    record = enhancement.record
    assert record["options"]["depth"] == 2
    assert record["model"] == "photo"
    assert len(record["sha256"]) == 64
    assert record["version"] == napari_dcr.__version__
    assert record["device"] == "cpu"
    assert record["seconds"] > 0
    repeated = napari_dcr.enhance(dim_rgb, **record["options"])
    assert (repeated == enhancement.image).all()


def test_progress_rises_to_the_end_and_can_cancel(dim_rgb: NDArray[np.uint8]) -> None:
    seen: list[napari_dcr.Progress] = []
    napari_dcr.enhance(dim_rgb, **FAST, tile=64, progress=seen.append)
    done = [p.done for p in seen]
    assert done == sorted(done)
    assert done[-1] == seen[-1].total == dim_rgb[..., 0].size

    class Stop(Exception):
        pass

    def stop(step: napari_dcr.Progress) -> None:
        if step.done:
            raise Stop

    with pytest.raises(Stop):
        napari_dcr.enhance(dim_rgb, **FAST, tile=64, progress=stop)


def test_import_is_light() -> None:
    code = "import sys, napari_dcr; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    roots = {name.split(".")[0] for name in modules.stdout.split()}
    assert roots.isdisjoint({"torch", "napari", "qtpy", "PyQt6", "PySide6", "magicgui", "numpy"})


def test_nothing_outside_the_plugin_imports_napari_or_qt() -> None:
    package = Path(napari_dcr.__file__).parent
    for path in package.rglob("*.py"):
        if path.parent.name == "plugin":
            continue
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                assert words[1].split(".")[0] not in {"napari", "qtpy", "magicgui", "superqt"}, path
