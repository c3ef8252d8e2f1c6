"""Colour models and sample layouts of TIFF: the displayed picture becomes brighter and keeps its colours."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageCms

import napari_dcr
from napari_dcr.io import opening

from .conftest import FAST, dim, dim_colour, shell, three_ways


def enhanced(pixels: NDArray[Any], **options: Any) -> NDArray[Any]:
    result: NDArray[Any] = napari_dcr.enhance(pixels, **FAST, **options)
    return result


def shown(path: Path) -> NDArray[Any]:
    """Picture that Pillow displays for a file."""
    with PILImage.open(path) as file:
        return np.asarray(file.convert("RGB"))


def to_lab(picture: PILImage.Image) -> PILImage.Image:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(picture, ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))


@pytest.mark.parametrize(("bits", "compression"), [(8, None), (16, "zlib")])
def test_min_is_white_is_a_positive(tmp_path: Path, bits: int, compression: str | None) -> None:
    scene = dim(50, 64, f"uint{bits}")
    top = np.array(2**bits - 1, scene.dtype)
    tifffile.imwrite(
        tmp_path / "a.tif", top - scene, photometric="miniswhite", compression=compression
    )
    result, *files = three_ways(tmp_path / "a.tif")
    assert np.array_equal(result, enhanced(scene))
    for path in files:
        with tifffile.TiffFile(path) as file:
            assert file.pages.first.photometric == tifffile.PHOTOMETRIC.MINISBLACK
        if bits == 8:
            assert shown(path).mean() > shown(tmp_path / "a.tif").mean() + 20


@pytest.mark.parametrize("bits", [1, 4, 12])
def test_bits_that_fill_no_dtype(tmp_path: Path, bits: int) -> None:
    """Pictures of few bits fill the range of the dtype; counts of a camera stay counts."""
    scene = dim(50, 64).astype(np.uint16 if bits > 8 else np.uint8)
    scene = scene > 18 if bits == 1 else scene // 3 if bits == 4 else scene * 60
    tifffile.imwrite(
        tmp_path / "a.tif", scene, photometric="minisblack", bitspersample=bits,
        metadata=None,
    )  # fmt: skip
    result, *_ = three_ways(tmp_path / "a.tif")
    full = {1: scene * np.uint8(255), 4: scene * np.uint8(17), 12: scene}[bits]
    assert np.array_equal(result, enhanced(full))
    if bits < 8:
        assert np.array_equal(shown(tmp_path / "a.tif")[..., 0], full)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "jpeg"])
@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "P", "PA"])
def test_pillows_models_become_rgb(tmp_path: Path, mode: str, compression: str | None) -> None:
    picture = PILImage.fromarray(dim_colour(48, 64))
    if mode in ("P", "PA"):
        if compression == "jpeg":
            compression = "tiff_adobe_deflate"
        picture = picture.quantize(32).convert(mode)
    else:
        picture = picture.convert(mode)
    source = tmp_path / "a.tif"
    picture.save(source, compression=compression)
    result, *files = three_ways(source)
    with PILImage.open(source) as file:
        expected = np.asarray(file.convert("RGBA" if mode == "PA" else "RGB"))
    own = opening.read(source).pixels
    assert np.abs(own.astype(int) - expected).max() <= (3 if mode == "YCbCr" else 0)
    assert np.array_equal(result, enhanced(own))
    for path in files:
        assert shown(path).mean() > 1.5 * shown(source).mean()
        with tifffile.TiffFile(path) as file:
            assert file.pages.first.photometric == tifffile.PHOTOMETRIC.RGB


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_models_of_16_bits_agree_with_those_of_8(tmp_path: Path, dtype: str) -> None:
    scene = dim_colour(40, 56)
    inks = 255 - np.dstack([scene, np.full(scene.shape[:2], 255, np.uint8)])
    own = {}
    for name, model, samples in (("inks", "separated", inks), ("chroma", "ycbcr", scene)):
        factor = np.array(257 if dtype == "uint16" else 1, dtype)
        tifffile.imwrite(
            tmp_path / f"{name}.tif", samples.astype(dtype) * factor, photometric=model
        )
        own[name] = opening.read(tmp_path / f"{name}.tif").pixels / factor
    assert np.abs(own["inks"] - scene).max() < 0.01
    with PILImage.fromarray(scene, "YCbCr") as picture:
        expected = np.asarray(picture.convert("RGB")).astype(float)
    assert np.abs(own["chroma"] - expected).max() <= 1.6


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("model", ["cielab", "icclab"])
def test_lab_agrees_with_colour_management(tmp_path: Path, model: str, bits: int) -> None:
    scene = dim_colour(40, 56) * np.uint8(3)
    lab = np.array(to_lab(PILImage.fromarray(scene)))  # L and, with their sign, a and b
    if model == "icclab":
        lab[..., 1:] ^= 0x80
    wide = lab.astype(np.uint16)
    if bits == 16:
        wide[..., 0] *= 257
        wide[..., 1:] <<= 8
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, wide.astype(f"uint{bits}"), photometric=model)
    own = opening.read(source).pixels
    assert np.abs(own / (257 if bits == 16 else 1) - scene).max() < 6  # 8 bits of a and b
    result, *files = three_ways(source)
    assert np.array_equal(result, enhanced(own))
    if bits == 8:
        assert all(shown(path).mean() > scene.mean() for path in files)


@pytest.mark.parametrize("indices", [8, 16])
def test_a_palette_is_looked_up(tmp_path: Path, indices: int) -> None:
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 20000, (3, 2**indices)).astype(np.uint16)
    pixels = rng.integers(0, 2**indices, (40, 50)).astype(f"uint{indices}")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="palette", colormap=palette)
    result, *_ = three_ways(tmp_path / "a.tif")
    colours = np.moveaxis(palette[:, pixels], 0, -1)
    assert np.array_equal(
        result, enhanced((colours >> 8).astype(np.uint8) if indices == 8 else colours)
    )


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_colours_in_which_intensities_are_shown_are_kept(tmp_path: Path, kind: str) -> None:
    scene = dim(40, 50)
    green = np.zeros((3, 256), np.uint16)
    green[1] = np.arange(256) * 257
    how = {kind: True}
    tifffile.imwrite(
        tmp_path / "a.tif",
        scene,
        photometric="palette",
        colormap=green,
        **how,  # type: ignore[arg-type]
    )
    with pytest.warns(napari_dcr.InputWarning, match="palette is interpreted as display colours"):
        result, *files = three_ways(tmp_path / "a.tif")
    assert np.array_equal(result, enhanced(scene))
    for path in files:
        assert np.array_equal(np.asarray(PILImage.open(path).convert("RGB"))[..., 1], result)


@pytest.mark.parametrize(
    ("photometric", "dtype", "message"),
    [
        ("cfa", "uint16", "colour filter array"),
        ("linear_raw", "uint16", "linear raw"),
        ("logl", "uint16", "LogL"),
        ("itulab", "uint8", "ITU L"),
        ("miniswhite", "float32", "min-is-white with float32"),
        ("miniswhite", "int16", "min-is-white with int16"),
        ("separated", "float32", "CMYK with float32"),
    ],
)
def test_the_error_names_models_that_cannot_be_converted(
    tmp_path: Path, photometric: str, dtype: str, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    samples = {"linear_raw": 3, "itulab": 3, "separated": 4}.get(photometric, 1)
    pixels = np.ones((32, 40, samples) if samples > 1 else (32, 40), dtype)
    source = tmp_path / "a.tif"
    tifffile.imwrite(source, pixels, photometric="rgb" if samples > 2 else "minisblack")
    with tifffile.TiffFile(source, mode="r+") as file:
        code = getattr(tifffile.PHOTOMETRIC, photometric.upper())
        file.pages.first.tags["PhotometricInterpretation"].overwrite(int(code))
    for out in (None, tmp_path / "o.tif"):
        with pytest.raises(ValueError, match=message):
            napari_dcr.enhance(source, out=out, **FAST)
    assert shell(source, tmp_path / "o.tif") == 1
    assert message in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


LAYOUTS = [
    ("minisblack", 2, ["unassalpha"], "ya"),
    ("minisblack", 2, ["assocalpha"], "yA"),
    ("minisblack", 2, None, "yy"),
    ("minisblack", 3, None, "yyy"),
    ("minisblack", 4, None, "yyyy"),
    ("minisblack", 5, None, "yyyyy"),
    ("minisblack", 8, ["unspecified"] * 6 + ["unassalpha"], "yyyyyyya"),
    ("rgb", 4, ["unassalpha"], "rgba"),
    ("rgb", 4, ["assocalpha"], "rgbA"),
    ("rgb", 4, ["unspecified"], "rgby"),
    ("rgb", 5, ["unassalpha", "unspecified"], "rgbay"),
    ("rgb", 5, ["unspecified", "unassalpha"], "rgbya"),
]


@pytest.mark.parametrize(("dtype", "planar"), [("uint8", False), ("uint16", True)])
@pytest.mark.parametrize(("photometric", "count", "extras", "samples"), LAYOUTS)
def test_further_samples_keep_their_meaning(
    tmp_path: Path, photometric: str, count: int, extras: list[str] | None, samples: str,
    dtype: str, planar: bool,
) -> None:  # fmt: skip
    top = np.iinfo(dtype).max
    scene = np.dstack([dim(40, 56, dtype, seed) for seed in range(count)])
    alpha = samples.lower().find("a")
    if alpha > 0:
        scene[..., alpha] = np.linspace(top // 4, top, 56).astype(dtype)
    if "A" in samples:
        straight = scene.copy()
        scene[..., :alpha] = np.rint(straight[..., :alpha] * (scene[..., alpha:] / top))
    pixels = np.moveaxis(scene, -1, 0) if planar else scene
    source = tmp_path / "a.tif"
    tifffile.imwrite(
        source, pixels, photometric=photometric, extrasamples=extras,
        planarconfig="separate" if planar else "contig", metadata={"axes": "SYX" if planar else "YXS"},
    )  # fmt: skip
    result, *files = three_ways(source)
    last = np.moveaxis(result, 0, -1) if planar else result
    if "A" not in samples:
        colours = 3 if samples.startswith("rgb") else 1
        shown_samples = scene[..., :colours] if colours == 3 else scene[..., 0]
        if samples.startswith("rgba"):
            shown_samples = scene[..., :4]
        got = last[..., : shown_samples.shape[-1]] if colours == 3 else last[..., 0]
        if samples[1:2] != "a":  # where alpha hides nothing it changes nothing either
            assert np.array_equal(got, enhanced(shown_samples))
        for number, kind in enumerate(samples):
            if kind == "y" and samples[number + 1 : number + 2] != "a":
                assert np.array_equal(last[..., number], enhanced(scene[..., number]))
    else:
        clear = last[..., :alpha] / np.maximum(last[..., alpha:] / top, 1e-9)
        assert clear.max() <= top * 1.01
        assert clear.mean() > 1.2 * straight[..., :alpha].mean()
    if alpha > 0:
        assert np.array_equal(last[..., alpha], scene[..., alpha])
    with tifffile.TiffFile(source) as file:
        before = file.pages.first
        for path in files:
            with tifffile.TiffFile(path) as other:
                after = other.pages.first
                assert len(other.pages) == 1
                for name in ("photometric", "samplesperpixel", "planarconfig"):
                    assert getattr(after, name) == getattr(before, name)
                assert after.extrasamples == before.extrasamples


@pytest.mark.parametrize("samples", ["rgb", "rgba"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_warning_names_planes_that_were_read_as_colours(
    tmp_path: Path, samples: str, dtype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three or four planes, as napari saves them, are a colour picture to the file."""
    stack = np.stack([dim(40, 56, dtype, seed) for seed in range(len(samples))])
    source = tmp_path / "stack.tif"
    tifffile.imwrite(source, stack, photometric="rgb", planarconfig="separate")
    with pytest.warns(napari_dcr.InputWarning, match='axes="zyx"'):
        napari_dcr.enhance(source, **FAST)
    assert shell(source, tmp_path / "colours.tif") == 0
    assert 'axes="zyx"' in capsys.readouterr().err
    expected = enhanced(stack, axes="zyx")
    assert np.array_equal(napari_dcr.enhance(source, axes="zyx", **FAST), expected)
    napari_dcr.enhance(source, axes="zyx", out=tmp_path / "region.tif", **FAST)
    assert shell(source, tmp_path / "planes.tif", "--axes", "zyx") == 0
    assert 'axes="zyx"' not in capsys.readouterr().err
    for name in ("planes.tif", "region.tif"):
        with tifffile.TiffFile(tmp_path / name) as file:
            assert file.series[0].axes == "ZYX"
            assert len(file.pages) == len(samples)
            assert np.array_equal(file.asarray(), expected)


@pytest.mark.filterwarnings("error::napari_dcr.InputWarning")
def test_planes_of_a_file_that_names_its_axes_are_not_doubted(tmp_path: Path) -> None:
    stack = np.stack([dim(40, 56, seed=seed) for seed in range(3)])
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"})
    assert np.array_equal(
        napari_dcr.enhance(tmp_path / "a.tif", **FAST), enhanced(stack, axes="zyx")
    )
    messages: list[str] = []
    napari_dcr.enhance(
        tmp_path / "a.tif", progress=lambda step: messages.append(step.message), **FAST
    )
    assert messages[0].startswith("3 z x 40 y x 56 x")


def write_subsampled(path: Path, luma: NDArray[np.uint8], compression: int) -> None:
    """YCbCr with chroma of every 2 x 2 pixels, which neither tifffile nor Pillow writes."""
    height, width = luma.shape
    blocks = np.empty((height // 2, width // 2, 6), np.uint8)
    for place, (y, x) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        blocks[..., place] = luma[y::2, x::2]
    blocks[..., 4], blocks[..., 5] = 120, 140
    data = blocks.tobytes()
    data = imagecodecs.lzw_encode(data) if compression == 5 else data
    bits, pixels = 8 + 2 + 12 * 10 + 4, 8 + 2 + 12 * 10 + 4 + 6
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, bits), (259, 3, 1, compression),
        (262, 3, 1, 6), (273, 4, 1, pixels), (277, 3, 1, 3), (278, 4, 1, height),
        (279, 4, 1, len(data)), (530, 3, 2, 2 | 2 << 16),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4)
    path.write_bytes(head + struct.pack("<3H", 8, 8, 8) + data)


def test_subsampled_chroma(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "a.tif"
    luma = dim(48, 64) * np.uint8(3)
    write_subsampled(source, luma, 5)
    expected = shown(source)
    assert np.abs(expected.mean(2) - luma).mean() < 12
    result, *files = three_ways(source)
    assert np.array_equal(result, enhanced(expected))
    assert all(shown(path).mean() > expected.mean() for path in files)
    write_subsampled(source, luma, 1)
    for out in (None, tmp_path / "o.tif"):
        with pytest.raises(ValueError, match="YCbCr with subsampled chroma cannot be decoded"):
            napari_dcr.enhance(source, out=out, **FAST)
    assert shell(source, tmp_path / "o.tif") == 1
    assert "convert it to RGB" in capsys.readouterr().err
