"""OpenEXR files keep linear light, and all other parts unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest

import napari_dcr
from napari_dcr.image.tone import linear_to_srgb
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import opening

from .conftest import dim_colour, shell

HEADER = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
SAME = ("--strength", "0", "--defects", "off")


def linear(dtype: str, samples: int = 3) -> Any:
    """Light from below black to far above white."""
    rng = np.random.default_rng(0)
    return (rng.lognormal(-3, 2, (33, 47, samples)) - 0.01).astype(dtype)


def write(path: Path, channels: dict[str, Any], **header: Any) -> Path:
    OpenEXR.File({**HEADER, **header}, channels).write(str(path))
    return path


def read(path: Path, part: int = 0) -> dict[str, Any]:
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: each.pixels for name, each in file.parts[part].channels.items()}


def test_light_is_encoded_and_not_clipped(tmp_path: Path) -> None:
    light = linear("float32")
    picture = opening.read(write(tmp_path / "in.exr", {"RGB": light}))
    assert (picture.axes, picture.samples, picture.pixels.dtype) == ("yxs", "rgb", np.float32)
    assert np.array_equal(picture.pixels, linear_to_srgb(light))
    assert picture.pixels.max() > 2
    assert picture.pixels.min() < 0


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", ["RGB", "Y"])
def test_halves_and_floats_are_kept_exactly(dtype: str, name: str, tmp_path: Path) -> None:
    light = linear(dtype) if name == "RGB" else linear(dtype, 1)[..., 0].copy()
    write(tmp_path / "in.exr", {name: light})
    assert shell(tmp_path / "in.exr", tmp_path / "out.exr", *SAME) == 0
    found = read(tmp_path / "out.exr")
    again = np.stack([found[n] for n in name], -1).reshape(light.shape)
    assert again.dtype == np.dtype(dtype)
    if dtype == "float16":
        assert np.array_equal(again, light)
    else:
        np.testing.assert_allclose(again, light, rtol=3e-6, atol=1e-8)


def test_other_parts_are_copied_unchanged(tmp_path: Path) -> None:
    light, depth = linear("float16"), linear("float32", 1)[..., 0].copy()
    beauty = OpenEXR.Part({**HEADER, "owner": "Ada"}, {"RGB": light, "Z": depth}, name="beauty")
    mask = OpenEXR.Part({**HEADER}, {"mask": depth}, name="mask")
    OpenEXR.File([beauty, mask]).write(str(tmp_path / "in.exr"))
    with pytest.warns(InputWarning) as caught:
        napari_dcr.open_image(tmp_path / "in.exr")
    assert {str(w.message) for w in caught} == {
        "in.exr: its channels Z are not enhanced", "in.exr: it has 2 parts; the first is enhanced"
    }  # fmt: skip
    assert shell(tmp_path / "in.exr", tmp_path / "out.exr") == 0
    assert np.array_equal(read(tmp_path / "out.exr")["Z"], depth)
    assert np.array_equal(read(tmp_path / "out.exr", 1)["mask"], depth)
    assert not np.array_equal(read(tmp_path / "out.exr")["R"], light[..., 0])
    with OpenEXR.File(str(tmp_path / "out.exr")) as file:
        assert file.parts[0].header["owner"] == "Ada"
        assert [part.name() for part in file.parts] == ["beauty", "mask"]


def test_alpha_is_kept_and_colours_are_multiplied_by_it(tmp_path: Path) -> None:
    light = np.abs(linear("float32", 4))
    light[..., 3] = np.linspace(0.2, 1, 47)
    light[:3, ..., 3] = 0  # light without a surface
    light[..., :3] *= np.where(light[..., 3:] == 0, 1, light[..., 3:])
    write(tmp_path / "in.exr", {"RGBA": light})
    assert opening.read(tmp_path / "in.exr").samples == "rgba"
    assert shell(tmp_path / "in.exr", tmp_path / "out.exr", *SAME) == 0
    found = read(tmp_path / "out.exr")
    again = np.stack([found[n] for n in "RGBA"], -1)
    np.testing.assert_allclose(again, light, rtol=5e-6, atol=1e-8)
    assert shell(tmp_path / "in.exr", tmp_path / "brighter.exr") == 0
    assert np.array_equal(read(tmp_path / "brighter.exr")["A"], light[..., 3])


def test_other_primaries_are_named_and_kept(tmp_path: Path) -> None:
    acescg = (0.713, 0.293, 0.165, 0.83, 0.128, 0.044, 0.32168, 0.33767)
    path = write(tmp_path / "in.exr", {"RGB": linear("float32")}, chromaticities=acescg)
    with pytest.warns(
        InputWarning,
        match="primaries are not those of sRGB; its colours are enhanced as if they were sRGB",
    ):
        napari_dcr.open_image(path)
    assert shell(path, tmp_path / "out.exr", *SAME) == 0
    with OpenEXR.File(str(tmp_path / "out.exr")) as file:
        np.testing.assert_allclose(file.parts[0].header["chromaticities"], acescg, atol=1e-6)


def test_a_picture_becomes_linear_light(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    from PIL import Image as PILImage

    pixels = dim_colour(33, 47)
    PILImage.fromarray(pixels).save(source)
    assert shell(source, tmp_path / "out.exr", *SAME, "--output", "float32") == 0
    found = np.stack([read(tmp_path / "out.exr")[n] for n in "RGB"], -1)
    assert np.abs(linear_to_srgb(found) * 255 - pixels).max() < 1e-3


def test_an_integer_result_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import imagecodecs

    (tmp_path / "in.png").write_bytes(imagecodecs.png_encode(dim_colour(33, 47)))
    assert shell(tmp_path / "in.png", tmp_path / "out.exr") == 1
    assert "holds float16 or float32" in capsys.readouterr().err


def channels(**planes: str) -> Any:
    made = {name: np.ones((6, 7), dtype) for name, dtype in planes.items()}
    return lambda path: write(path, made)


def cut(share: float) -> Any:
    def half(path: Path) -> None:
        content = write(path, {"RGB": linear("float16")}).read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return half


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p.write_bytes(b""), "it is empty"),
        (lambda p: p.write_bytes(b"no picture" * 20), "it is not an OpenEXR file"),
        (lambda p: p.write_bytes(b"\x76\x2f\x31\x01" + b"\2\0\0\0"), ""),
        (cut(0.1), ""),
        (cut(0.5), ""),
        (cut(0.99), ""),
        (channels(R="u4", G="u4", B="u4"), "whole numbers"),
        (channels(Z="f4"), "it has the channels Z; allowed are"),
        (channels(Y="f2", RY="f2", BY="f2"), "luminance and chroma"),
        (channels(**{"left.R": "f2", "left.G": "f2", "left.B": "f2"}), "allowed are R, G, B or Y"),
    ],
)
def test_damaged_and_other_files_give_an_error_of_one_line(
    make: Any, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.exr"
    make(path)
    assert shell(path, tmp_path / "out.png", "--output", "uint8") == 1
    printed = capfd.readouterr()
    text = printed.err
    assert printed.out == ""  # where records are written with --json
    assert text.count("\n") == 1, text
    assert message in text
    assert [p.name for p in tmp_path.iterdir()] == ["in.exr"]


def test_a_full_disk_gives_an_error_of_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource", reason="Windows has no such limit")
    source = write(tmp_path / "in.exr", {"RGB": linear("float32")})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        status = shell(source, tmp_path / "out.exr", *SAME)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    printed = capsys.readouterr().err
    assert printed == f"napari-dcr: {tmp_path / 'out.exr'} cannot be written: File too large\n"
    assert list(tmp_path.iterdir()) == [source]
