"""JPEG XL: pixels, bits, the header of the codestream, and metadata in boxes."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_dcr
from napari_dcr.image.tone import linear_to_srgb
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import jxl, opening, writing
from napari_dcr.io import tags as t
from napari_dcr.io.files import Picture
from napari_dcr.io.metadata import Metadata

from .conftest import dim_colour, random, shell


def encoded(pixels: Any, **how: Any) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, **how))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(33, 47), (33, 47, 3), (33, 47, 4)])
def test_every_bit_at_strength_0(shape: tuple[int, ...], dtype: str, tmp_path: Path) -> None:
    pixels = random(shape, dtype)
    content = encoded(pixels, usecontainer=True)
    (tmp_path / "in.jxl").write_bytes(jxl.as_srgb(content) if dtype == "uint16" else content)
    assert (
        shell(tmp_path / "in.jxl", tmp_path / "out.jxl", "--strength", "0", "--defects", "off") == 0
    )
    assert np.array_equal(imagecodecs.jpegxl_decode((tmp_path / "out.jxl").read_bytes()), pixels)


def test_integers_of_linear_light_become_display_values(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 2**16, (33, 47, 3), "u2")
    (tmp_path / "in.jxl").write_bytes(encoded(codes))  # the library calls 16 bits linear light
    found = opening.read(tmp_path / "in.jxl").pixels
    assert np.abs(found - linear_to_srgb(codes / np.float32(65535)) * 65535).max() < 1


def test_16_bits_are_written_as_srgb(tmp_path: Path) -> None:
    for shape in ((33, 47), (33, 47, 3), (33, 47, 4), (7, 5000)):
        codes = random(shape, "uint16")
        picture = Picture(
            codes, "yxs"[: len(shape)], samples="" if len(shape) == 2 else "rgba"[: shape[2]]
        )
        writing.write(tmp_path / "out.jxl", picture)
        content = (tmp_path / "out.jxl").read_bytes()
        header = jxl.Header.read(dict(jxl.boxes(content))[b"jxlc"])
        assert (header.transfer, header.bits) == (13, 16)
        assert np.array_equal(imagecodecs.jpegxl_decode(content), codes)
        assert np.array_equal(opening.read(tmp_path / "out.jxl").pixels, codes)


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_fewer_bits_fill_16_and_are_kept(bits: int, tmp_path: Path) -> None:
    codes = np.random.default_rng(0).integers(0, 2**bits, (33, 47, 3), "u2")
    codes[0, 0] = 2**bits - 1
    (tmp_path / "in.jxl").write_bytes(
        jxl.as_srgb(encoded(codes, bitspersample=bits, usecontainer=True))
    )
    assert opening.read(tmp_path / "in.jxl").pixels.max() == 65535
    assert (
        shell(tmp_path / "in.jxl", tmp_path / "out.jxl", "--strength", "0", "--defects", "off") == 0
    )
    assert np.array_equal(imagecodecs.jpegxl_decode((tmp_path / "out.jxl").read_bytes()), codes)


def test_floats_of_linear_light_become_display_values(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((33, 47, 3)).astype(np.float32)
    content = encoded(pixels)
    (tmp_path / "in.jxl").write_bytes(content)
    parts = dict(jxl.boxes(content))
    header = jxl.Header.read(parts[b"jxlc"])
    assert (header.bits, header.is_float, header.primaries, header.transfer) == (32, True, 1, 8)
    assert np.array_equal(opening.read(tmp_path / "in.jxl").pixels, linear_to_srgb(pixels))


def test_the_first_picture_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = np.stack([dim_colour(33, 47), dim_colour(33, 47) // 2])
    (tmp_path / "in.jxl").write_bytes(encoded(frames))
    with pytest.warns(InputWarning, match="2 pictures; the first is taken and 1 are left out"):
        opened = napari_dcr.open_image(tmp_path / "in.jxl")
    assert np.array_equal(np.asarray(opened.array), frames[0])


@pytest.mark.parametrize("is_packed", [False, True])
def test_exif_and_xmp_are_kept(is_packed: bool, tmp_path: Path) -> None:
    block = t.to_exif({t.MAKE: t.text_tag("Maker"), t.ORIENTATION: t.short_tag(6)})
    content = encoded(dim_colour(33, 47), usecontainer=True)
    for kind, inner in ((b"Exif", bytes(4) + block), (b"xml ", b"<x>1</x>")):
        if is_packed:
            kind, inner = b"brob", kind + imagecodecs.brotli_encode(inner)
        content += struct.pack(">I4s", 8 + len(inner), kind) + inner
    (tmp_path / "in.jxl").write_bytes(content)
    assert shell(tmp_path / "in.jxl", tmp_path / "out.jxl") == 0
    found = opening.read(tmp_path / "out.jxl").metadata
    assert (found.tags[t.MAKE].text, found.xmp) == ("Maker", b"<x>1</x>")
    assert found.orientation == 1  # the codestream says how it is turned, and the decoder turns it


def test_a_profile_is_named(tmp_path: Path) -> None:
    metadata = Metadata({t.ICC_PROFILE: t.Tag(t.UNDEFINED, b"profile")})
    with pytest.warns(InputWarning, match="left out its colour profile"):
        writing.write(tmp_path / "out.jxl", Picture(dim_colour(8, 9), "yxs", metadata, "rgb"))


class Writer:
    """Writes the fields of a header, least significant bit first."""

    def __init__(self) -> None:
        self.bits = ""

    def add(self, value: int, count: int) -> Writer:
        self.bits += "".join(str(value >> i & 1) for i in range(count))
        return self

    def chosen(self, selector: int, value: int = 0, count: int = 0) -> Writer:
        return self.add(selector, 2).add(value, count)

    @property
    def data(self) -> bytes:
        bits = self.bits + "0" * (-len(self.bits) % 8)
        return b"\xff\x0a" + bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def header(
    transfer: int, primaries: int, animated: bool, extra: int, profile: bool, name: bytes = b"",
    kind: int = 0,
) -> bytes:  # fmt: skip
    """A header as ISO/IEC 18181-1 describes it."""
    w = Writer().add(0, 1).chosen(1, 4000, 13).add(0, 3).chosen(1, 6000, 13)
    w.add(0, 1).add(1, 1)  # not all fields have their defaults
    w.add(5, 3).add(1, 1)  # orientation 6; its own size, in eighths
    w.add(1, 1).add(4, 5).add(1, 3)
    w.add(0, 1).add(animated, 1)
    if animated:
        w.chosen(0).chosen(0).chosen(1, 3, 3).add(0, 1)
    w.add(0, 1).chosen(1)  # 10 bits
    w.add(1, 1)
    w.chosen(2, extra - 2, 4) if extra >= 2 else w.chosen(extra)
    for _ in range(extra):
        w.add(0, 1)
        w.chosen(2, kind - 2, 4) if kind >= 2 else w.chosen(kind)
        w.add(0, 1).chosen(0)
        w.chosen(0)
        w.chosen(1, len(name), 4)
        for letter in name:
            w.add(letter, 8)
        if kind == 0:  # alpha
            w.add(1, 1)
    w.add(0, 1)  # not XYB
    w.add(0, 1).add(profile, 1).chosen(0)  # RGB
    if not profile:
        w.chosen(1)  # D65
        w.chosen(2, primaries - 2, 4) if 2 <= primaries < 18 else w.chosen(primaries)
        w.add(0, 1)
        w.chosen(2, transfer - 2, 4) if transfer < 18 else w.chosen(3, transfer - 18, 6)
        w.chosen(0)
    return w.data + bytes(8)


@settings(max_examples=60, deadline=None)
@given(
    transfer=st.sampled_from([8, 13, 16, 17, 18]), primaries=st.sampled_from([1, 9, 11]),
    animated=st.booleans(), extra=st.integers(0, 3), profile=st.booleans(),
    name=st.binary(max_size=15),
)  # fmt: skip
def test_headers_of_all_kinds_are_read(
    transfer: int, primaries: int, animated: bool, extra: int, profile: bool, name: bytes
) -> None:
    found = jxl.Header.read(header(transfer, primaries, animated, extra, profile, name))
    expected = (True, 1, 13) if profile else (False, primaries, transfer)
    assert (found.has_profile, found.primaries, found.transfer) == expected
    assert (found.bits, found.is_float, found.is_animated) == (10, False, animated)
    assert found.size == (4001, 6001)
    assert found.extras == (0,) * extra


@pytest.mark.parametrize("distance", [0.0, 1.0])
def test_headers_of_the_encoder(distance: float) -> None:
    for size in ((40, 50), (40, 48), (64, 64), (33, 44), (300, 400), (512, 1024), (17, 1000)):
        content = imagecodecs.jpegxl_encode(dim_colour(*size), distance=distance)
        assert jxl.Header.read(content) == jxl.Header(size=size)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_the_error_names_hdr(transfer: int, name: str, tmp_path: Path) -> None:
    (tmp_path / "in.jxl").write_bytes(header(transfer, 9, False, 0, False))
    with pytest.raises(ValueError, match=name):
        opening.read(tmp_path / "in.jxl")


def test_the_error_names_cmyk(tmp_path: Path) -> None:
    # The decoder returns cyan, magenta and yellow without black, as if they were RGB.
    (tmp_path / "in.jxl").write_bytes(header(13, 1, False, 1, True, b"Black", kind=4))
    with pytest.raises(ValueError, match="its colour model CMYK is not supported"):
        opening.read(tmp_path / "in.jxl")


@pytest.mark.parametrize(
    ("extra", "kind", "message"),
    [(1, 1, r"its extra channel \(depth\) is"), (3, 6, r"its 3 extra channels \(thermal values\) are"),
     (1, 15, r"its extra channel \(kind 15\) is"), (2, 0, r"its extra channel \(a further alpha\) is")],
)  # fmt: skip
def test_extra_channels_beside_alpha_are_named(
    extra: int, kind: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in.jxl").write_bytes(header(13, 1, False, extra, False, kind=kind))
    pixels = dim_colour(33, 47)
    # The installed encoder writes no such channels beside colours, and its decoder returns none.
    monkeypatch.setattr(imagecodecs, "jpegxl_decode", lambda _: pixels)
    with pytest.warns(InputWarning, match=f"{message}.* left out"):
        opened = napari_dcr.open_image(tmp_path / "in.jxl")
    assert opened.array.shape == pixels.shape


def test_grey_with_extra_channels_is_read(tmp_path: Path) -> None:
    planes = random((3, 33, 47), "uint8")
    (tmp_path / "in.jxl").write_bytes(encoded(planes, planar=True))
    with pytest.warns(InputWarning, match=r"2 extra channels \(optional\) are left out"):
        opened = napari_dcr.open_image(tmp_path / "in.jxl")
    assert np.array_equal(np.asarray(opened.array), planes[0])


@pytest.mark.filterwarnings("error")
def test_one_alpha_gives_no_warning(tmp_path: Path) -> None:
    (tmp_path / "in.jxl").write_bytes(encoded(random((33, 47, 4), "uint8")))
    assert napari_dcr.open_image(tmp_path / "in.jxl").samples == "rgba"


@pytest.mark.parametrize("fault", ["empty", "text", "start", "head", "half", "end", "box", "png"])
def test_damaged_files_give_one_line(
    fault: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content, boxed = encoded(dim_colour(40, 50)), encoded(dim_colour(40, 50), usecontainer=True)
    path = tmp_path / "in.jxl"
    path.write_bytes({
        "empty": b"", "text": b"no picture" * 20, "start": content[:3], "head": content[:20],
        "half": content[: len(content) // 2], "end": boxed[:-9], "box": boxed[:36],
        "png": imagecodecs.png_encode(dim_colour(40, 50)),
    }[fault])  # fmt: skip
    assert shell(path, tmp_path / "out.png") == 1
    text = capfd.readouterr().err
    assert text.count("\n") == 1, text
    assert str(path) in text
    assert [p.name for p in tmp_path.iterdir()] == ["in.jxl"]
