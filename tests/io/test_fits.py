"""FITS files are read, enhanced and written; astropy checks the results."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.enhancement import run_to_completion
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import formats, writing

from .conftest import shell

UNCHANGED: dict[str, Any] = {"depth": 0, "strength": 0.0, "device": "cpu"}


def same(path: Path, out: Path, **options: Any) -> Path:
    """Enhance a file with a strength of 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        napari_dcr.enhance(path, out=out, **UNCHANGED, **options)
    return out


def random(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray[Any, Any]:
    r = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return r.normal(-3, 40, shape).astype(dtype)
    limits = np.iinfo(dtype)
    pixels = r.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    pixels.flat[:2] = limits.min, limits.max
    return pixels


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(9, 11), (2, 8, 10), (2, 1, 5, 6)])
def test_a_round_trip_keeps_every_bit_and_every_keyword(
    dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    header = fits.Header()
    header.update({"OBJECT": "M 13", "CRVAL1": 250.42, "CTYPE1": "RA---TAN", "CD1_1": -1e-4})
    header.add_comment("seeing 1.2")
    fits.writeto(tmp_path / "in.fits", random(shape, dtype), header)
    same(tmp_path / "in.fits", tmp_path / "out.fits")
    with fits.open(tmp_path / "in.fits") as before, fits.open(tmp_path / "out.fits") as after:
        after.verify("exception")
        assert after[0].data.dtype == before[0].data.dtype
        assert np.array_equal(after[0].data, before[0].data)
        kept = [c for c in after[0].header.cards if c.keyword != "HISTORY"]
        assert [tuple(c) for c in kept] == [tuple(c) for c in before[0].header.cards]
        assert "napari-dcr" in str(after[0].header["HISTORY"])


@pytest.mark.parametrize(
    ("dtype", "top"),
    [("int8", 127), ("uint32", 2**32 - 1), ("int64", 2**63 - 1024), ("uint64", 2**64 - 2048)],
)
def test_other_integers_are_read_and_written_exactly(dtype: str, top: int, tmp_path: Path) -> None:
    pixels = np.arange(99).astype(dtype).reshape(9, 11)
    pixels[0, :3] = np.iinfo(dtype).min, top - top // 2, top
    hdu = fits.PrimaryHDU(pixels)
    if dtype == "int8":
        hdu = fits.PrimaryHDU((pixels.astype("i2") + 128).astype("u1"))
        hdu.header["BZERO"] = -128
    hdu.writeto(tmp_path / "in.fits")
    opened = napari_dcr.open_image(tmp_path / "in.fits")
    assert opened.array.dtype == ("i2" if dtype == "int8" else "f8")
    assert np.array_equal(np.asarray(opened.array).astype(dtype), pixels)
    out = same(tmp_path / "in.fits", tmp_path / "out.fits", defects="off")
    assert np.array_equal(fits.getdata(out).astype(dtype), pixels)


def test_an_offset_keeps_neighbouring_values_apart(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(np.arange(99, dtype="i2").reshape(9, 11))
    hdu.header["BZERO"] = 1e9
    hdu.writeto(tmp_path / "in.fits")
    found = np.asarray(napari_dcr.open_image(tmp_path / "in.fits").array)
    assert np.array_equal(found, 1e9 + np.arange(99).reshape(9, 11))


@pytest.mark.parametrize("value", [2**53 + 1, 2**64 - 1])
def test_a_number_that_floats_cannot_represent_is_named(value: int, tmp_path: Path) -> None:
    pixels = np.full((9, 11), 500, "uint64")
    pixels[3, 4] = value
    fits.writeto(tmp_path / "in.fits", pixels)
    with pytest.raises(ValueError, match=f"got a value of {value} in dtype uint64"):
        np.asarray(napari_dcr.open_image(tmp_path / "in.fits").array)


@pytest.mark.parametrize("packed", ["gz", "RICE_1", "GZIP_2"])
def test_packed_files_are_read_and_written_without_loss(packed: str, tmp_path: Path) -> None:
    pixels = random((2, 12, 15), "uint16")
    path, header = tmp_path / "in.fits", fits.Header({"OBJECT": "M 13"})
    if packed == "gz":
        fits.writeto(path, pixels, header)
        path = tmp_path / "in.fits.gz"
        path.write_bytes(gzip.compress((tmp_path / "in.fits").read_bytes()))
    else:
        # Like programs that compress files: the header states the kind of the original HDU.
        header["SIMPLE"] = header["EXTEND"] = True
        fits.CompImageHDU(pixels, header, compression_type=packed).writeto(path)
        with fits.open(path, disable_image_compression=True) as table:
            assert "ZSIMPLE" in table[1].header
    out = same(path, tmp_path / "out.fits")
    with fits.open(out) as after:
        after.verify("exception")
        unit = after[0 if packed == "gz" else 1]
        assert np.array_equal(unit.data, pixels)
        assert unit.header["OBJECT"] == "M 13"


def test_quantised_floats_read_as_astropy_reads_them(tmp_path: Path) -> None:
    pixels = random((20, 30), "float32")
    pixels[3, 4] = np.nan
    fits.CompImageHDU(pixels, compression_type="RICE_1").writeto(tmp_path / "in.fits")
    expected = fits.getdata(tmp_path / "in.fits", 1)
    out = same(tmp_path / "in.fits", tmp_path / "out.fits")
    with fits.open(out) as after:
        assert not isinstance(
            after[1], fits.CompImageHDU
        )  # results are not compressed with loss again
        assert np.array_equal(after[1].data, expected, equal_nan=True)


@pytest.mark.parametrize(("dtype", "blank"), [("int16", -99), ("uint16", -32768), ("uint16", 7), ("int32", 5)])  # fmt: skip
def test_blank_pixels_do_not_count_and_stay_blank(dtype: str, blank: int, tmp_path: Path) -> None:
    pixels = np.full((32, 40), 1000, dtype)
    pixels += np.random.default_rng(0).integers(0, 20, pixels.shape).astype(dtype)
    offset = 32768 if dtype == "uint16" else 0
    pixels[4:9, 6:20] = blank + offset
    hdu = fits.PrimaryHDU(pixels)
    hdu.header["BLANK"] = blank
    hdu.writeto(tmp_path / "in.fits")
    out = napari_dcr.enhance(tmp_path / "in.fits", out=tmp_path / "out.fits", depth=0, device="cpu")
    with fits.open(out, do_not_scale_image_data=True) as after:
        assert after[0].header["BLANK"] == blank
        stored = after[0].data.astype(int)
        assert (stored[4:9, 6:20] == blank).all()
        rest = np.delete(stored, np.s_[4:9], 0) + offset
        assert rest.min() > 995
        assert rest.max() < 1025


@pytest.mark.parametrize("second", [None, 105, 104])
@pytest.mark.parametrize("is_whole", [True, False])
def test_blank_pixels_of_integers_are_nan_in_floats(
    is_whole: bool, second: int | None, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(100, 120, (2, 90, 100)).astype("int16")
    pixels[0, :5, :7] = pixels[0, 60:, 80:] = 105
    units = [fits.PrimaryHDU()]
    for number, blank in enumerate((105, second)):
        units.append(fits.ImageHDU(pixels[number], name="SCI", ver=number + 1))
        if blank is not None:
            units[-1].header["BLANK"] = blank
    fits.HDUList(units).writeto(tmp_path / "in.fits")
    if is_whole:
        assert shell(tmp_path / "in.fits", tmp_path / "out.fits", "--output", "float32") == 0
    else:
        same(tmp_path / "in.fits", tmp_path / "out.fits", output="float32", tile=64)
    for number, blank in enumerate((105, second)):
        after = fits.getdata(tmp_path / "out.fits", number + 1)
        assert after.dtype == ">f4"
        assert np.array_equal(np.isnan(after), pixels[number] == blank)
        assert "BLANK" not in fits.getheader(tmp_path / "out.fits", number + 1)


def test_blank_pixels_that_become_numbers_of_other_integers_are_named(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(np.random.default_rng(0).integers(100, 120, (40, 48)).astype("int16"))
    hdu.header["BLANK"] = 105
    hdu.writeto(tmp_path / "in.fits")
    with pytest.warns(
        InputWarning, match=r"in\.fits: its pixels without data \(BLANK\) become num"
    ):
        napari_dcr.enhance(
            tmp_path / "in.fits", out=tmp_path / "out.fits", output="uint16", **UNCHANGED
        )


def test_scaled_integers_become_floats_with_nan_at_blanks(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(random((8, 9), "int16"))
    hdu.writeto(tmp_path / "raw.fits")
    data = bytearray((tmp_path / "raw.fits").read_bytes())
    blank = int(hdu.data[2, 3])
    cards = [f"BSCALE  = {0.5:20}", f"BZERO   = {100.0:20}", f"BLANK   = {blank:20}"]
    end = data.index(b"END" + b" " * 77)
    data[end : end + 320] = "".join(c.ljust(80) for c in [*cards, "END"]).encode()
    (tmp_path / "in.fits").write_bytes(data)
    expected = fits.getdata(tmp_path / "in.fits")
    assert np.isnan(expected[2, 3])
    same(tmp_path / "in.fits", tmp_path / "out.fits")
    with fits.open(tmp_path / "out.fits") as after:
        assert "BSCALE" not in after[0].header
        assert "BLANK" not in after[0].header
        assert np.array_equal(after[0].data, expected, equal_nan=True)


def with_cards(hdu: Any, cards: dict[str, float]) -> bytes:
    """HDU whose stored pixels stay as they are, with cards that define their meaning."""
    hdu.update_header()
    header = hdu.header.copy()
    header.update(cards)
    pixels = hdu.data.astype(hdu.data.dtype.newbyteorder(">")).tobytes()
    text: str = header.tostring()
    return text.encode() + pixels + bytes(-len(pixels) % 2880)


@pytest.mark.parametrize("scale", [{}, {"BSCALE": 0.5, "BZERO": 10}, {"BZERO": 32768}])
@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize("second", [None, 150])
def test_every_unit_has_its_own_blank_pixels(
    second: int | None, dtype: str, scale: dict[str, float], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(100, 120, (2, 40, 48)).astype(dtype)
    pixels[0, :5, :7] = -999
    pixels[1, 9:14, 3:7] = 150 if second else -999
    units = [fits.PrimaryHDU().header.tostring().encode()]
    for number, blank in enumerate((-999, second)):
        hdu = fits.ImageHDU(pixels[number], name="SCI", ver=number + 1)
        units.append(with_cards(hdu, {**scale, **({} if blank is None else {"BLANK": blank})}))
    path = tmp_path / "in.fits"
    path.write_bytes(b"".join(units))
    gone = np.zeros(pixels.shape, bool)
    gone[0, :5, :7] = True
    gone[1, 9:14, 3:7] = second is not None
    opened = napari_dcr.open_image(path)
    found = opened.array[:, :, :]
    if opened.array.dtype.kind == "f":
        assert np.array_equal(np.isnan(found), gone)
    else:
        assert np.array_equal(np.ma.getmaskarray(found), gone)
    out = tmp_path / "out.fits"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        napari_dcr.enhance(path, out=out, depth=0, device="cpu", defects="off")
    for number in (1, 2):
        before, after = (np.asarray(fits.getdata(p, number), float) for p in (path, out))
        lost = gone[number - 1]
        if opened.array.dtype.kind == "f":
            assert np.array_equal(np.isnan(after), lost)
        assert np.array_equal(after[lost], before[lost], equal_nan=True)
        # They do not count as light of their neighbours.
        assert np.abs(after - before)[~lost].max() < 100


def exposures(path: Path) -> fits.HDUList:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["TELESCOP"] = "HST"
    for version in (1, 2):
        hdus.append(fits.ImageHDU(random((34, 37), "uint16", version), name="SCI", ver=version))
        hdus.append(fits.ImageHDU(random((34, 37), "float32", version), name="ERR", ver=version))
        quality = fits.ImageHDU(name="DQ", ver=version)
        quality.header["PIXVALUE"] = 0
        hdus.append(quality)
    table = fits.BinTableHDU.from_columns([fits.Column("x", "J", array=[1, 2, 3])], name="LOG")
    hdus.append(table)
    hdus.writeto(path, checksum=True)
    return hdus


def test_other_units_are_written_back_to_the_byte(tmp_path: Path) -> None:
    exposures(tmp_path / "in.fits")
    with pytest.warns(InputWarning, match="2 images .* along an axis e"):
        napari_dcr.enhance(tmp_path / "in.fits", out=tmp_path / "out.fits", **UNCHANGED)
    raw = [(tmp_path / name).read_bytes() for name in ("in.fits", "out.fits")]
    with fits.open(tmp_path / "in.fits") as before, fits.open(tmp_path / "out.fits") as after:
        after.verify("exception")
        assert [h.name for h in after] == [h.name for h in before]
        for old, new in zip(before, after, strict=True):
            if new.name == "SCI":
                assert np.array_equal(new.data, old.data)
                assert "CHECKSUM" not in new.header
                continue
            blocks = []
            for data, hdu in zip(raw, (old, new), strict=True):
                place = hdu.fileinfo()
                blocks.append(data[place["hdrLoc"] : place["datLoc"] + place["datSpan"]])
            assert blocks[0] == blocks[1]


def test_one_exposure_is_chosen_by_number_or_name(tmp_path: Path) -> None:
    hdus = exposures(tmp_path / "in.fits")
    for scene in (1, "SCI,2"):
        opened = napari_dcr.open_image(tmp_path / "in.fits", scene=scene)
        assert np.array_equal(np.asarray(opened.array), hdus["SCI", 2].data)
    napari_dcr.enhance(
        tmp_path / "in.fits", out=tmp_path / "out.fits", scene=1, exposure=1, depth=0
    )
    with fits.open(tmp_path / "out.fits") as after:
        assert np.array_equal(after["SCI", 1].data, hdus["SCI", 1].data)
        assert not np.array_equal(after["SCI", 2].data, hdus["SCI", 2].data)
    with pytest.raises(ValueError, match=r"scene: got 2; allowed are 0 to 1 and SCI,1, SCI,2"):
        napari_dcr.open_image(tmp_path / "in.fits", scene=2)


def test_a_mosaic_of_colours_is_named(tmp_path: Path) -> None:
    header = fits.Header({"BAYERPAT": "RGGB"})
    fits.writeto(tmp_path / "in.fits", random((20, 20), "uint16"), header)
    with pytest.warns(InputWarning, match=r"mosaic of colours \(RGGB\)"):
        napari_dcr.open_image(tmp_path / "in.fits")


@pytest.mark.parametrize("name", ["WCSDVARR", "D2IMARR", "FOOTPRINT"])
def test_tables_of_distortion_and_coverage_are_no_pictures(name: str, tmp_path: Path) -> None:
    for size in ((20, 30), (5, 6)):
        beside = fits.ImageHDU(np.zeros(size, np.float32), name=name)
        hdus = fits.HDUList([fits.PrimaryHDU(np.ones((20, 30), np.float32)), beside])
        hdus.writeto(tmp_path / "in.fits", overwrite=True)
        assert napari_dcr.open_image(tmp_path / "in.fits").array.shape == (20, 30)


def test_a_choice_is_required_for_images_of_different_shapes(tmp_path: Path) -> None:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 5)), name="A"), fits.ImageHDU(np.ones((6, 5)))]  # fmt: skip
    fits.HDUList(hdus).writeto(tmp_path / "in.fits")
    with pytest.raises(ValueError, match=r"choose one by scene: 0 \(A,1\), 1 \(unnamed,1\)"):
        napari_dcr.open_image(tmp_path / "in.fits")
    assert napari_dcr.open_image(tmp_path / "in.fits", scene="A").array.shape == (4, 5)


def test_axes_and_order_of_rows_are_those_of_the_header(tmp_path: Path) -> None:
    header = fits.Header({"CTYPE3": "FREQ", "CTYPE4": "TIME", "ROWORDER": "BOTTOM-UP"})
    fits.writeto(tmp_path / "in.fits", np.ones((2, 3, 6, 7), "f4"), header)
    opened = napari_dcr.open_image(tmp_path / "in.fits", out=tmp_path / "out.tif")
    assert opened.axes == "tlyx"
    assert opened.metadata.orientation == 4
    fits.writeto(tmp_path / "three.fits", np.ones((3, 6, 7), "f4"))
    opened = napari_dcr.open_image(tmp_path / "three.fits")
    assert opened.axes == "cyx"
    assert "treated as colours" in opened.doubt


def test_the_axes_of_planes_are_those_in_space(tmp_path: Path) -> None:
    path = tmp_path / "in.fits"
    pixels = random((1, 12, 14, 5), "float32")
    header = fits.Header(
        {"CTYPE1": "FREQ", "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN", "CTYPE4": "STOKES"}
    )
    fits.writeto(path, pixels, header)
    with pytest.warns(InputWarning, match=r"axes DEC--TAN and RA---TAN, not its last axes, RA---TAN and FREQ"):  # fmt: skip
        found = napari_dcr.enhance(path, **UNCHANGED)
    assert np.array_equal(found, pixels)
    opened = napari_dcr.open_image(path)
    assert opened.axes == "pyxl"
    assert np.array_equal(opened.array[:, 2:9, 3:5, 1:2], pixels[:, 2:9, 3:5, 1:2])
    with pytest.raises(ValueError, match="got axes 'pyxl'; write .tif or .zarr"):
        napari_dcr.enhance(path, out=tmp_path / "out.fits", **UNCHANGED)


@pytest.mark.parametrize("shape", [(9, 11), (1, 9, 11)])
def test_a_picture_with_an_axis_that_is_not_in_space_is_named(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    header = fits.Header({"CTYPE1": "WAVE", "CTYPE2": "LINEAR"})
    fits.writeto(tmp_path / "in.fits", random(shape, "float32"), header)
    opened = napari_dcr.open_image(tmp_path / "in.fits")
    assert opened.axes is not None
    assert opened.axes.endswith("yx")
    with pytest.warns(InputWarning, match="its axes LINEAR and WAVE, which are treated as y and x"):
        napari_dcr.enhance(tmp_path / "in.fits", out=tmp_path / "out.fits", **UNCHANGED)
    assert (tmp_path / "out.fits").exists()


def test_measurements_are_enhanced_by_microscopy_by_default(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "in.fits", random((33, 34), "uint16"))
    for asked, expected in (("auto", "microscopy"), ("photo", "photo")):
        options = napari_dcr.Options(model=asked, depth=0, device="cpu")
        done = run_to_completion(napari_dcr.enhance_steps(tmp_path / "in.fits", options))
        assert done.record["model"] == expected


def test_another_dtype_is_written_if_requested(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "in.fits", np.full((9, 9), 70, "uint16"))
    out = same(tmp_path / "in.fits", tmp_path / "out.fits", output="float32")
    with fits.open(out) as after:
        assert after[0].header["BITPIX"] == -32
        assert (after[0].data == 70).all()


def test_pictures_become_planes(tmp_path: Path) -> None:
    pixels = random((6, 7, 3), "uint8")
    writing.write(tmp_path / "out.fits", formats.Picture(pixels, "yxs"))
    assert np.array_equal(fits.getdata(tmp_path / "out.fits"), np.moveaxis(pixels, -1, 0))


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_windows_are_those_of_the_whole(data: st.DataObject, tmp_path: Path) -> None:
    pixels = random((3, 9, 13), "uint16")
    fits.CompImageHDU(pixels).writeto(tmp_path / "in.fits", overwrite=True)
    array = napari_dcr.open_image(tmp_path / "in.fits").array
    index = []
    for n in array.shape:
        start = data.draw(st.integers(0, n - 1))
        index.append(slice(start, data.draw(st.integers(start + 1, n))))
    assert np.array_equal(array[tuple(index)], pixels[tuple(index)])


DAMAGED = {
    "empty": lambda data: b"",
    "header only": lambda data: data[:2880],
    "cut header": lambda data: data[:1000],
    "cut pixels": lambda data: data[:-3000],
    "another format": lambda data: b"\x89PNG\r\n\x1a\n" + data[8:],
    "no image": lambda data: data[:160] + b"NAXIS   =                    0".ljust(80) + data[240:],
    "text": lambda data: b"not an image",
}


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fz"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged_files_are_refused_in_one_line(
    damage: str, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / f"in{suffix}", tmp_path / "out.fits"
    hdu = fits.CompImageHDU if suffix == ".fz" and damage != "no image" else fits.PrimaryHDU
    hdu(random((50, 60), "uint16")).writeto(tmp_path / "whole.fits")
    data = DAMAGED[damage]((tmp_path / "whole.fits").read_bytes())
    if suffix == ".fits.gz" and damage == "cut pixels":
        data = gzip.compress(data + bytes(9))[:-5]
    elif suffix == ".fits.gz" and damage not in ("text", "empty"):
        data = gzip.compress(data)
    path.write_bytes(data)
    before = sorted(tmp_path.iterdir())
    assert main(["enhance", str(path), "-o", str(out), "--depth", "0", "-q"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert path.name in lines[0]
    assert sorted(tmp_path.iterdir()) == before


def places_of(path: Path) -> list[Any]:
    with fits.open(path) as hdus:
        return [hdu.fileinfo() for hdu in hdus]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["image", "quality", "table", "compressed"])
def test_a_file_that_ends_within_its_last_unit_is_cut_off(
    kind: str, packed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "in.fits"
    last = {
        "image": lambda: fits.ImageHDU(random((34, 37), "float32"), name="SCI"),
        "quality": lambda: fits.ImageHDU(random((34, 37), "int16"), name="DQ"),
        "table": lambda: fits.BinTableHDU.from_columns([fits.Column("x", "J", array=range(900))]),
        "compressed": lambda: fits.CompImageHDU(random((34, 37), "float32"), name="SCI"),
    }[kind]()
    first = fits.ImageHDU(random((34, 37), "float32"), name="SCI", ver=1)
    last.ver = 2
    fits.HDUList([fits.PrimaryHDU(), first, last]).writeto(path)
    data, place = path.read_bytes(), places_of(path)[-1]
    cuts = {5: "the header of its HDU 2, at byte", 500: "the header of its HDU 2, at byte"}
    cuts[place["datLoc"] - place["hdrLoc"]] = "it is cut off: it has"
    cuts[place["datLoc"] - place["hdrLoc"] + 1000] = "it is cut off: it has"
    if packed:
        path = tmp_path / "in.fits.gz"
    for cut, message in cuts.items():
        kept = data[: place["hdrLoc"] + cut]
        path.write_bytes(gzip.compress(kept) if packed else kept)
        with pytest.raises(ValueError, match=message):
            napari_dcr.open_image(path)


def test_what_follows_the_last_unit_is_allowed(tmp_path: Path) -> None:
    exposures(tmp_path / "in.fits")
    data = (tmp_path / "in.fits").read_bytes()
    place = places_of(tmp_path / "in.fits")[-1]
    for name, content in {
        "tape.fits": data + bytes(2880 * 7),
        "odd.fits": data + b"\n",
        "no-padding.fits": data[: place["datLoc"] + 12],
    }.items():
        (tmp_path / name).write_bytes(content)
        out = same(tmp_path / name, tmp_path / "out.fits")
        with fits.open(tmp_path / "in.fits") as before, fits.open(out) as after:
            after.verify("exception")
            assert len(after) == len(before)
            assert np.array_equal(after["SCI", 2].data, before["SCI", 2].data)
            assert after["LOG"].data["x"].tolist() == [1, 2, 3]
        out.unlink()


def test_a_file_that_follows_another_standard_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "other.fits"
    fits.writeto(path, random((20, 21), "int16"))
    path.write_bytes(
        path.read_bytes().replace(
            b"SIMPLE  =                    T", b"SIMPLE  =                    F"
        )
    )
    with pytest.raises(ValueError, match="it holds no image of two or more axes"):
        napari_dcr.open_image(path)


def test_the_shell_names_results_and_reads_packed_files(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = random((20, 21), "uint16")
    fits.writeto(tmp_path / "in" / "a.fits", pixels)
    fits.writeto(tmp_path / "in" / "b.fits.gz", pixels)
    arguments = [
        "enhance",
        str(tmp_path / "in"),
        "-o",
        str(tmp_path / "out"),
        "--strength",
        "0",
        "-q",
    ]
    assert main([*arguments, "--depth", "0"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.fits", "b.fits"]
    assert np.array_equal(fits.getdata(tmp_path / "out" / "b.fits"), pixels)


def test_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fits.writeto(tmp_path / "in.fits", random((5, 5), "uint8"))
    monkeypatch.setitem(__import__("sys").modules, "astropy.io.fits", None)
    assert main(["enhance", str(tmp_path / "in.fits"), "-o", str(tmp_path / "out.fits")]) == 1
    assert 'pip install "napari-dcr[astronomy]"' in capsys.readouterr().err
