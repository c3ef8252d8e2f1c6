"""Writing of video: colours, tags, times, sound, and no incomplete results."""

from __future__ import annotations

import os
import threading
import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.engine import setup
from napari_dcr.enhancement import run_to_completion
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import video_sink
from napari_dcr.options import Options

from .conftest import FAST, shell
from .videos import codes_of, filled, moving, of_rgb, write

SAME: dict[str, Any] = {"strength": 0, **FAST}


def read(path: Path) -> Any:
    return np.asarray(napari_dcr.open_image(path).array)


def seconds(path: Path) -> tuple[list[float], float]:
    """When frames begin and the last one ends, by FFmpeg alone."""
    with av.open(str(path)) as file:
        frames = [(f.pts, f.duration, f.time_base) for f in file.decode(video=0)]
    times = [float(pts * base) for pts, _, base in frames]
    return times, times[-1] + float(frames[-1][1] * frames[-1][2])


def tags(path: Path) -> tuple[Any, ...]:
    with av.open(str(path)) as file:
        f = next(file.decode(video=0))
        return f.format.name, f.colorspace, f.color_range, f.color_primaries, f.color_trc


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize(("fmt", "bits"), [("yuv420p", 8), ("yuv420p10le", 10)])
def test_colours_are_kept_within_the_loss_of_the_codec(
    tmp_path: Path, fmt: str, bits: int, matrix: int
) -> None:
    rng = np.random.default_rng(matrix)
    colours = [*rng.random((8, 3)), *(0.05 * rng.random((6, 3))), np.ones(3), np.zeros(3)]
    frames = [filled(fmt, (32, 32), codes_of(np.array(c), matrix, bits)) for c in colours]
    known = {"colorspace": matrix, "color_range": 1, "color_primaries": matrix, "color_trc": 1}
    source = write(tmp_path / "a.mkv", frames, tags=known)
    out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", **SAME)
    difference = read(out).astype(float) - read(source)
    assert np.abs(difference.mean((1, 2))).max() / 257 < (1 if bits == 8 else 0.4)
    assert np.abs(difference).max() / 257 < (4 if bits == 8 else 1.5)  # one code of colour is 2
    assert tags(out) == (fmt, matrix, 1, matrix, 1)


def test_full_range_is_converted_to_the_declared_range(tmp_path: Path) -> None:
    colour = np.array([0.7, 0.2, 0.1])
    codes = codes_of(colour, 1, 8, limited=False)
    source = write(tmp_path / "a.mkv", [filled("yuv444p", (32, 32), codes)], tags={"colorspace": 1, "color_range": 2})  # fmt: skip
    out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", **SAME)
    assert tags(out)[1:3] == (1, 1)
    assert np.abs((read(out) / 257 - 255 * colour).mean((1, 2))).max() < 1


def test_dim_levels_are_kept(tmp_path: Path) -> None:
    level = np.full((2, 64, 64, 3), round(4.7 * 257), np.uint16)
    level += np.random.default_rng(0).integers(0, 9, level.shape, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", level, photometric="rgb", metadata={"axes": "TYXS"})
    with pytest.warns(InputWarning, match="25 frames per second"):
        out = napari_dcr.enhance(tmp_path / "a.tif", axes="tyxs", out=tmp_path / "b.mp4", **SAME)
    assert read(out).mean() / 257 == pytest.approx(level.mean() / 257, abs=0.1)


def test_hdr_keeps_its_transfer_and_ten_bits(tmp_path: Path) -> None:
    known = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 18}
    frames = [filled("yuv420p10le", (32, 32), codes_of(np.array([0.3, 0.2, 0.1]), 9, 10))]
    source = write(tmp_path / "a.mkv", frames, tags=known)
    with pytest.warns(InputWarning, match="HLG"):
        out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", **FAST)
    assert tags(out) == ("yuv420p10le", 9, 1, 9, 18)
    with pytest.warns(InputWarning, match="HLG"):
        out = napari_dcr.enhance(source, out=tmp_path / "b.mkv", **FAST)
    assert tags(out)[3:] == (9, 18)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_an_instrument_comes_back_bit_for_bit(tmp_path: Path, bits: int) -> None:
    fmt = "gray" if bits == 8 else f"gray{bits}le"
    counts = np.random.default_rng(bits).integers(0, 2**bits, (3, 33, 47))
    source = write(tmp_path / "a.mkv", [filled(fmt, (33, 47), (plane,)) for plane in counts])
    out = napari_dcr.enhance(source, out=tmp_path / "b.mkv", **SAME)
    assert tags(out)[0] == fmt
    assert np.array_equal(read(out), counts)
    for name in ("b.zarr", "b.tif"):
        napari_dcr.enhance(source, out=tmp_path / name, **SAME)
        assert np.array_equal(napari_dcr.open_image(tmp_path / name).array[:], counts)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_colours_in_mkv_are_without_loss(tmp_path: Path, dtype: str) -> None:
    limit = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, limit, (3, 33, 47, 3), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    with pytest.warns(InputWarning, match="25 frames per second"):
        out = napari_dcr.enhance(tmp_path / "a.tif", axes="tyxs", out=tmp_path / "b.mkv", **SAME)
    expected = pixels if dtype == "uint16" else pixels.astype(np.uint16) * 257
    assert np.array_equal(read(out), expected)


def test_grey_stays_grey_in_mp4(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(20, 90, (4, 32, 48))
    source = write(tmp_path / "a.mkv", [filled("gray", (32, 48), (plane,)) for plane in counts])
    out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", **SAME)
    pixels = read(out)
    assert np.ptp(pixels.astype(int), axis=-1).max() == 0
    assert (pixels[..., 0].mean((1, 2)) / 257) == pytest.approx(counts.mean((1, 2)), abs=0.3)
    coloured = write(
        tmp_path / "c.mkv", [filled("yuv420p", (32, 48), (p, 128, 128)) for p in counts]
    )
    out = napari_dcr.enhance(coloured, out=tmp_path / "d.mp4", **FAST)
    assert np.ptp(read(out).astype(int), axis=-1).max() == 0


def test_white_of_the_camera_is_white_in_mp4(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", [filled("gray12le", (32, 32), (np.full((32, 32), 4095),))])
    out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", **SAME)
    assert tags(out)[0] == "yuv420p10le"
    assert read(out).min() > 65000


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
def test_times_turn_aspect_and_texts_are_kept(tmp_path: Path, name: str) -> None:
    source = write(
        tmp_path / "a.mp4", [of_rgb(p, "yuv420p") for p in moving(5)], "libx264",
        times=[3, 43, 53, 336, 1003], unit=Fraction(1, 1000), last=70, turn=90,
        aspect=Fraction(4, 3), texts={"title": "Owls", "creation_time": "2026-05-06T19:59:06.000000Z"},
    )  # fmt: skip
    if name == "b.mkv":
        with pytest.warns(InputWarning, match="cannot store that pixels are 4/3 times as wide"):
            out = napari_dcr.enhance(source, out=tmp_path / name, **FAST)
    else:
        out = napari_dcr.enhance(source, out=tmp_path / name, **FAST)
    before, after = seconds(source), seconds(out)
    assert after[0] == pytest.approx(before[0], abs=1e-6)
    assert after[1] == pytest.approx(before[1], abs=2e-3)
    with av.open(str(out)) as file:
        assert next(file.decode(video=0)).rotation == 90
        if name != "b.mkv":
            assert file.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        texts = {key.lower(): text for key, text in file.metadata.items()}
        assert texts["title"] == "Owls"
        assert texts["creation_time"] == "2026-05-06T19:59:06.000000Z"
        assert abs(file.duration - 1e6 * before[1]) <= 70e3 + 1e3 * (name == "b.mkv")


def counts_of_a_camera(count: int = 3) -> NDArray[np.uint16]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :80]
    light = 100 + 600 * (1 + np.sin(y / 7) * np.cos(x / 9))
    return rng.poisson(light, (count, 64, 80)).astype(np.uint16)


@pytest.mark.parametrize("model", ["photo", "microscopy"])
@pytest.mark.parametrize("several", [False, True])
def test_counts_of_unknown_bit_depth_are_not_black_in_mp4(
    tmp_path: Path, model: str, several: bool
) -> None:
    frames, out = counts_of_a_camera(4), [tmp_path / "b.mp4", tmp_path / "c.mp4"]
    options: dict[str, Any] = {**SAME, "model": model, "axes": "tyx"}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if several:
            names = [tmp_path / f"{n}.tif" for n in range(2)]
            for name, part in zip(names, (frames[:2], frames[2:]), strict=True):
                tifffile.imwrite(name, part, metadata={"axes": "TYX"})
            napari_dcr.enhance(names, out=out, **options)
            shown = np.concatenate([read(each) for each in out])
        else:
            napari_dcr.enhance(frames, out=out[0], **options)
            shown = read(out[0])
    assert shown[..., 0].mean() / 65535 == pytest.approx(frames.mean() / 4095, rel=0.02)
    said = [each for each in caught if "for viewing only; write .mkv" in str(each.message)]
    assert len(said) == (0 if model == "photo" else 2 if several else 1)


def test_what_is_brighter_than_white_is_counted(tmp_path: Path) -> None:
    frames = counts_of_a_camera()
    options: dict[str, Any] = {**SAME, "axes": "tyx", "input_range": (0, 1200)}
    share = (frames > 1224).mean()
    with pytest.warns(InputWarning, match=rf"b.mp4: {share:.2%} of the pixels are brighter than"):
        napari_dcr.enhance(frames, out=tmp_path / "b.mp4", **options)
    pixels = frames.clip(0, 1000) if frames.max() < 1024 else frames // 2
    source = write(tmp_path / "a.mkv", [filled("gray10le", (64, 80), (p,)) for p in pixels])
    options = {**SAME, "model": "microscopy", "exposure": 2.0}
    with pytest.warns(InputWarning, match=r"c.mkv: .* of the pixels are brighter than its white"):
        napari_dcr.enhance(source, out=tmp_path / "c.mkv", **options)


def test_a_picture_of_another_range_keeps_its_white_in_mp4(tmp_path: Path) -> None:
    frames = (counts_of_a_camera() // 8).astype(np.uint8)
    options: dict[str, Any] = {**SAME, "axes": "tyx", "output": "uint16"}
    napari_dcr.enhance(frames, out=tmp_path / "b.mp4", **options)
    assert read(tmp_path / "b.mp4")[..., 0].mean() / 257 == pytest.approx(frames.mean(), abs=1)


def shape_of_pixels(path: Path) -> Fraction:
    """Width of a pixel divided by its height, as other libraries read it."""
    if path.suffix == ".zarr":
        image: Any = zarr.open_group(path, mode="r").attrs["ome"]
        change = image["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
        *_, y, x = change["scale"][:3]
    elif path.suffix == ".tif" and (xml := tifffile.TiffFile(path).ome_metadata):
        pixels = tifffile.xml2dict(xml)["OME"]["Image"]["Pixels"]
        assert pixels["PhysicalSizeXUnit"] == "pixel"
        x, y = pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]
    elif path.suffix == ".tif":
        tags = tifffile.TiffFile(path).pages[0].tags  # type: ignore[union-attr]
        assert tags["ResolutionUnit"].value == 1
        y, x = (Fraction(*tags[f"{axis}Resolution"].value) for axis in "XY")
    else:
        with PILImage.open(path) as file:
            info = file.info
        assert info.get("jfif_unit", 0) == 0
        y, x = info["aspect"] if path.suffix == ".png" else info["jfif_density"]
    return Fraction(x) / Fraction(y)


@pytest.mark.parametrize(
    "name", ["b.ome.zarr", "b.tif", "b.ome.tif", "b_%d.tif", "b_%d.png", "b_%d.jpg"]
)
def test_the_shape_of_pixels_is_kept_outside_video(tmp_path: Path, name: str) -> None:
    frames = [of_rgb(p, "yuv420p") for p in moving(2)]
    source = write(tmp_path / "a.mp4", frames, "libx264", aspect=Fraction(4, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        napari_dcr.enhance(source, out=tmp_path / name, **{**FAST, "output": "uint8"})
    shape = shape_of_pixels(tmp_path / name.replace("%d", "1"))
    assert shape.limit_denominator(1000) == Fraction(4, 3)
    if name == "b.ome.tif":
        sizes = napari_dcr.open_image(tmp_path / name).metadata.calibration.sizes  # type: ignore[union-attr]
        assert sizes["x"] / sizes["y"] == pytest.approx(4 / 3)


@pytest.mark.parametrize("turn", [0, 90])
def test_formats_without_a_shape_of_pixels_are_named(tmp_path: Path, turn: int) -> None:
    frames = [of_rgb(p, "yuv420p") for p in moving(2)]
    source = write(tmp_path / "a.mp4", frames, "libx264", aspect=Fraction(4, 3), turn=turn)
    for name in ("b.zarr", "b_%d.avif"):
        wide = "0.75" if turn and name == "b.zarr" else "1.333"
        with pytest.warns(InputWarning, match=f"cannot store that pixels are {wide} times as wide"):
            napari_dcr.enhance(source, out=tmp_path / name, **{**FAST, "output": "uint8"})


def test_times_between_milliseconds_are_exact_in_mp4(tmp_path: Path) -> None:
    frames = [of_rgb(p, "yuv420p") for p in moving(30)]
    source = write(tmp_path / "a.mp4", frames, "libx264", unit=Fraction(1001, 30000), b_frames=2)
    out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", **FAST)
    assert seconds(out)[0] == seconds(source)[0]
    with av.open(str(source)) as one, av.open(str(out)) as two:
        assert two.streams.video[0].average_rate == one.streams.video[0].average_rate
        assert abs(two.duration - one.duration) <= 1e6 / 30


@pytest.mark.parametrize(
    ("source", "codec", "out", "kept"),
    [("a.mp4", "aac", "b.mp4", True), ("a.mp4", "aac", "b.mkv", True), ("a.avi", "pcm_s16le", "b.mkv", True),
     ("a.avi", "pcm_s16le", "b.mov", True), ("a.avi", "pcm_mulaw", "b.mp4", False)],
)  # fmt: skip
def test_sound_is_copied(tmp_path: Path, source: str, codec: str, out: str, kept: bool) -> None:
    video = {"a.mp4": "libx264", "a.avi": "mjpeg"}[source]
    fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
    path = write(tmp_path / source, [of_rgb(p, fmt) for p in moving(10)], video, sound=codec)

    def packets(of: Path) -> list[tuple[bytes, float]]:
        with av.open(str(of)) as file:
            return [(bytes(p), float(p.pts * p.time_base)) for p in file.demux(audio=0) if p.size]

    if not kept:
        with pytest.warns(InputWarning, match="cannot hold the sound"):
            napari_dcr.enhance(path, out=tmp_path / out, **FAST)
        return
    napari_dcr.enhance(path, out=tmp_path / out, **FAST)
    before, after = packets(path), packets(tmp_path / out)
    assert b"".join(p for p, _ in after) == b"".join(p for p, _ in before)
    if codec == "aac":
        shift = [b[1] - a[1] for a, b in zip(before, after, strict=True)]
        assert np.abs(np.array(shift) - shift[0]).max() < 2e-3
        assert abs(shift[0]) < 0.07  # the encoder's first packet is before 0, which mkv has not


@pytest.mark.parametrize("hidden", [8, 10])  # of 20 frames; every tenth is a key frame
def test_sound_that_an_edit_list_hides_stays_out(tmp_path: Path, hidden: int) -> None:
    whole = write(
        tmp_path / "a.mp4", [of_rgb(p, "yuv420p") for p in moving(20)], "libx264", sound="aac",
        unit=Fraction(1, 20)
    )  # fmt: skip
    with av.open(str(whole)) as file, av.open(str(tmp_path / "b.mp4"), "w") as trimmed:
        tracks = [trimmed.add_stream_from_template(stream) for stream in file.streams]
        for packet in file.demux():
            if packet.size:
                shift = int(Fraction(hidden, 20) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = tracks[packet.stream.index]
                trimmed.mux(packet)
    for name in ("c.mkv", "c.mp4"):
        out = napari_dcr.enhance(tmp_path / "b.mp4", out=tmp_path / name, **FAST)
        with av.open(str(out)) as file:
            heard = [f for f in file.decode(audio=0) if f.pts * f.time_base >= 0]
            length = sum(f.samples for f in heard) / 16000
        assert length == pytest.approx(1 - hidden / 20, abs=0.21), name
        assert seconds(out)[0] == pytest.approx([n / 20 for n in range(20 - hidden)], abs=0.13)


def with_marks_and_chapters(path: Path, start: int = 0) -> Path:
    """A video with two sound tracks, the second of them the default and a comment, and two chapters."""
    plain = write(
        path.with_name("plain.mp4"), [of_rgb(p, "yuv420p") for p in moving(5)], "libx264", sound="aac",
        times=[start + n for n in range(5)],
    )  # fmt: skip
    kind = av.stream.Disposition
    with av.open(str(plain)) as file, av.open(str(path), "w") as made:
        (video,), (sound,) = file.streams.video, file.streams.audio
        copied = made.add_stream_from_template(video)
        tracks = [made.add_stream_from_template(sound) for _ in range(2)]
        tracks[0].disposition, tracks[1].disposition = kind(0), kind.default | kind.comment
        parts = [{"start": 10 * n, "end": 10 * n + 10, "metadata": {"title": f"part {n}"}} for n in range(2)]  # fmt: skip
        made.set_chapters(
            [{"id": n, "time_base": Fraction(1, 40), **part} for n, part in enumerate(parts)]
        )
        packets = [packet for packet in file.demux() if packet.size]
        for packet in packets:
            again = av.Packet(bytes(packet))
            again.pts, again.dts, again.time_base = packet.pts, packet.dts, packet.time_base
            again.is_keyframe, again.duration = packet.is_keyframe, packet.duration
            packet.stream = copied if packet.stream.type == "video" else tracks[0]
            made.mux(packet)
            if packet.stream is not copied:
                again.stream = tracks[1]
                made.mux(again)
    return path


def chapters(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as file:
        return [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"]["title"])
            for c in file.chapters()
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "name"),
    [("a.mkv", "b.mp4"), ("a.mkv", "b.mov"), ("a.mp4", "b.m4v"), ("a.mp4", "b.mkv")],
)
def test_chapters_and_marks_of_sound_tracks_are_kept(
    tmp_path: Path, source: str, name: str
) -> None:
    path = with_marks_and_chapters(tmp_path / source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        out = napari_dcr.enhance(path, out=tmp_path / name, **FAST)
    given = [str(each.message) for each in caught if each.category is InputWarning]
    kind, holds = av.stream.Disposition, name in ("b.mp4", "b.mkv")
    with av.open(str(out)) as file:
        marks = [stream.disposition for stream in file.streams.audio]
    assert marks == [kind(0), kind.default | (kind.comment if holds else kind(0))]
    assert chapters(out) == [(0.0, 0.25, "part 0"), (0.25, 0.5, "part 1")]
    if holds:
        assert given == []
    else:
        (text,) = given
        assert "cannot mark sound track 2 as comment" in text
        assert text.endswith("; write .mkv to keep such marks")


def test_chapters_of_joined_videos_follow_each_other(tmp_path: Path) -> None:
    sources = [with_marks_and_chapters(tmp_path / f"{n}.mkv", start=3 * n) for n in range(2)]
    with pytest.warns(InputWarning, match="the sound of 0.mkv, 1.mkv is left out"):
        out = napari_dcr.enhance(sources, out=tmp_path / "out.mp4", **FAST)
    # The second video begins at 0.3 s, after its first chapter.
    assert [each[:2] for each in chapters(out)] == [(0.0, 0.25), (0.25, 0.5), (0.5, 0.7)]


@pytest.mark.parametrize(
    ("source", "codec", "out", "advice"),
    [("a.mkv", "libopus", "b.mov", "write .mkv or .mp4"),      ("a.avi", "adpcm_ima_wav", "b.mkv", ""), ("a.avi", "pcm_mulaw", "b.mp4", "write .mov")],
)  # fmt: skip
def test_sound_that_a_muxer_refuses_is_named_with_what_holds_it(
    tmp_path: Path, source: str, codec: str, out: str, advice: str
) -> None:
    write(tmp_path / source, [of_rgb(p, "yuvj420p") for p in moving(3)], "mjpeg", sound=codec)
    with pytest.warns(InputWarning, match="cannot hold the sound") as caught:
        napari_dcr.enhance(tmp_path / source, out=tmp_path / out, **FAST)
    (text,) = [str(w.message) for w in caught if "cannot hold the sound" in str(w.message)]
    assert text.endswith(f"; {advice} to keep it" if advice else "it is left out")
    with av.open(str(tmp_path / out)) as file:
        assert not file.streams.audio


def test_joined_videos_keep_their_times_and_name_the_sound_left_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    units = {"a.mp4": Fraction(1, 1000), "b.mp4": Fraction(1001, 30000), "c.mkv": Fraction(1, 10)}
    times = {"a.mp4": [7, 47, 330], "b.mp4": [0, 1, 5], "c.mkv": [0, 1, 2]}
    sources = [
        write(
            tmp_path / "in" / name, [of_rgb(p, "yuv420p") for p in moving(3)], "libx264", unit=unit,
            times=times[name], last=2, sound="" if name == "c.mkv" else "aac", aspect=Fraction(4, 3),
            tags={"colorspace": 9, "color_range": 1}, texts={"title": "Owls"},
        )
        for name, unit in units.items()
    ]  # fmt: skip
    with pytest.warns(InputWarning, match=r"the sound of a\.mp4, b\.mp4 is left out"):
        out = napari_dcr.enhance(sources, out=tmp_path / "out.mp4", **FAST)
    expected, start = [], 0.0
    for source in sources:
        at, end = seconds(source)
        expected += [start + t - at[0] for t in at]
        start += end - at[0]
    assert seconds(out)[0] == pytest.approx(expected, abs=2e-5)
    assert seconds(out)[1] == pytest.approx(start, abs=2e-5)
    assert tags(out)[:3] == tags(sources[0])[:3]
    with av.open(str(out)) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert file.metadata["title"] == "Owls"
        assert not file.streams.audio


@pytest.mark.parametrize("axis", ["t", "z"])
def test_videos_joined_in_other_ways_name_the_sound_and_times_left_out(
    axis: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.mp4", [of_rgb(p, "yuv420p") for p in moving(3)], "libx264", sound="aac")  # fmt: skip
    other = tmp_path / "b.tif"
    tifffile.imwrite(other, read(path), metadata={"axes": f"{axis}yxs".upper()})
    files = [path, other] if axis == "t" else [path, path]
    opened = napari_dcr.open_image(files, as_one=axis, axes=f"{axis}yxs")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        napari_dcr.enhance(opened, out=tmp_path / "out.mp4", **FAST)
    found = [str(w.message) for w in caught if "sound" in str(w.message)]
    assert len(found) == 1
    assert found[0].endswith("so the sound and the frame times of the videos are left out")


def test_odd_sizes_are_not_cropped(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(2, 33, 47)])
    with pytest.warns(InputWarning, match=r"odd number of rows or columns.*4:4:4"):
        out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", **SAME)
    found = read(out)
    assert found.shape == (2, 33, 47, 3)
    assert np.abs(found.astype(float) - read(source)).mean() / 257 < 4


def test_quality_sets_the_size(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(5)])
    sizes = []
    for quality in (30, 70, 95):
        napari_dcr.enhance(source, out=tmp_path / f"{quality}.mp4", quality=quality, **SAME)
        sizes.append((tmp_path / f"{quality}.mp4").stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]
    with pytest.raises(ValueError, match="quality: got 101; allowed are 0 to 100"):
        napari_dcr.enhance(source, out=tmp_path / "x.mp4", quality=101, **SAME)


def test_colours_one_by_one_are_written_in_order_of_frames(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(12)])
    expected = napari_dcr.enhance(source, **{**FAST, "model": "microscopy"})
    out = napari_dcr.enhance(source, out=tmp_path / "b.mkv", **{**FAST, "model": "microscopy"})
    assert np.array_equal(read(out), expected)
    out = napari_dcr.enhance(source, out=tmp_path / "c.mkv", link_frames=False, **{**FAST, "model": "microscopy"})  # fmt: skip
    assert read(out).shape == expected.shape


def test_tiles_of_a_frame_are_combined(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(3, 150, 210)])
    out = napari_dcr.enhance(source, out=tmp_path / "b.mkv", tile=64, **FAST)
    expected = napari_dcr.enhance(source, tile=64, **FAST)
    assert np.array_equal(read(out), expected)


@pytest.mark.parametrize(
    ("pixels", "axes", "reason"),
    [(np.zeros((8, 9), "u1"), "yx", "one axis beside"), (np.zeros((2, 3, 8, 9), "u1"), "tzyx", "one axis beside"),
     (np.zeros((2, 3, 8, 9), "u1"), "tcyx", "one axis beside"), (np.zeros((2, 8, 9, 4), "u1"), "tyxs", "grey or RGB"),
     (np.zeros((2, 8, 9), "f4"), "tyx", "uint8 or uint16, not float32")],
)  # fmt: skip
def test_images_that_a_video_cannot_store_raise_an_error(
    tmp_path: Path, pixels: NDArray[Any], axes: str, reason: str
) -> None:
    for name in ("a.mp4", "a.mkv"):
        with pytest.raises(ValueError, match=reason):
            napari_dcr.enhance(pixels, axes=axes, out=tmp_path / name, **FAST)
    assert not any(tmp_path.iterdir())


def test_other_arguments_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(2)])
    with pytest.raises(ValueError, match="allowed are those of a .zarr"):
        napari_dcr.enhance(source, out=tmp_path / "b.mp4", resume=True, **FAST)
    with pytest.raises(ValueError, match="return_report"):
        napari_dcr.enhance(source, out=tmp_path / "b.mp4", return_report=True, **{**FAST, "model": "microscopy"})  # fmt: skip
    with pytest.raises(ValueError, match="^out: .* is the input file itself"):
        napari_dcr.enhance(source, out=source, **FAST)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]


def test_a_stopped_or_failed_run_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(20)])
    for enough in (1, 200_000):
        steps = napari_dcr.enhance_steps(source, Options(depth=0, device="cpu"), tmp_path / "b.mp4")
        for step in steps:
            if step.done >= enough // 10:
                break
        steps.close()
        assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]

    def fail(self: Any, number: int, frame: Any) -> None:
        if number == 3:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(video_sink.VideoSink, "_write", fail)
    with pytest.raises(OSError, match="No space left"):
        napari_dcr.enhance(source, out=tmp_path / "b.mp4", **FAST)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]
    assert not any(thread.name == "frames" for thread in threading.enumerate())


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such limit")
@pytest.mark.parametrize("name", ["b.mp4", "b.mkv", "b_%d.png"])
def test_a_full_disk_is_named_with_the_result(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(6)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))  # bytes of a file
    try:
        with pytest.raises(OSError, match=r"cannot be written: File too large") as caught:
            napari_dcr.enhance(source, out=tmp_path / name, **FAST)
        assert shell(source, tmp_path / name) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "partial" not in str(caught.value)
    error = capsys.readouterr().err
    assert f"napari-dcr: {tmp_path / name} cannot be written: File too large\n" in error
    assert [p.name for p in tmp_path.iterdir()] == ["a.mkv"]


def test_frames_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(30)])
    most, gate, write_one = [0], threading.Event(), video_sink.VideoSink._write

    def slow(self: Any, number: int, frame: Any) -> None:
        gate.wait(0.02)
        most[0] = max(most[0], len(self._begun) + self._queue.qsize())
        write_one(self, number, frame)

    monkeypatch.setattr(video_sink.VideoSink, "_write", slow)
    napari_dcr.enhance(source, out=tmp_path / "b.mp4", **FAST)
    assert most[0] <= 4


def test_brightness_does_not_flicker(tmp_path: Path) -> None:
    scene = moving(1, level=25)[0].astype(float)
    rng = np.random.default_rng(0)
    noisy = [np.clip(np.rint(scene + rng.normal(0, 3, scene.shape)), 0, 255) for _ in range(24)]
    source = write(tmp_path / "a.mkv", [of_rgb(p.astype(np.uint8), "bgr0") for p in noisy])
    out = napari_dcr.enhance(source, out=tmp_path / "b.mp4", device="cpu", depth=1)
    before, after = (read(p).mean((1, 2, 3)) / 257 for p in (source, out))
    gain = after.mean() / before.mean()
    assert gain > 1.5
    assert abs(np.std(after) - gain * np.std(before)) < 0.3


@pytest.mark.parametrize("steady", [True, False])
def test_constant_areas_are_padding_only_if_all_frames_have_them(
    tmp_path: Path, steady: bool
) -> None:
    # Compression makes dark parts of a scene constant, in other places of each frame.
    rng = np.random.default_rng(0)
    frames = rng.normal(40, 6, (8, 160, 224)).clip(1, 255).astype(np.uint8)
    for number, frame in enumerate(frames):
        frame[:, : 64 if steady else 56 + 4 * (number % 5)] = 0
    pictures = [filled("gray", (160, 224), (frame,)) for frame in frames]
    source = write(tmp_path / "a.mkv", pictures)
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        napari_dcr.enhance(source, out=tmp_path / "b.mkv", **FAST)
    assert any("solid areas" in str(each.message) for each in given) == steady
    after = read(tmp_path / "b.mkv")
    if steady:
        assert (after[:, :, :64] == 0).all()


def test_the_shell_takes_folders_with_video(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "night").mkdir(parents=True)
    write(folder / "night" / "a.avi", [of_rgb(p, "yuvj420p") for p in moving(4)], "mjpeg")
    write(folder / "b.mp4", [of_rgb(p, "yuv420p") for p in moving(4)], "libx264")
    assert shell(folder, tmp_path / "out") == 0
    found = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert found == ["b.mp4", "night/a.mp4"]
    assert shell(folder / "b.mp4", tmp_path / "stack.tif") == 0
    assert tifffile.imread(tmp_path / "stack.tif").shape == (4, 48, 64, 3)
    assert shell(tmp_path / "stack.tif", tmp_path / "again.mp4", "--axes", "tyxs") == 0
    assert shell(folder / "b.mp4", tmp_path / "b.png") == 1


def test_a_sequence_of_images_is_written(tmp_path: Path) -> None:
    source = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in moving(11)])
    expected = napari_dcr.enhance(source, **FAST)
    out = napari_dcr.enhance(source, out=tmp_path / "new" / "frame_%03d.png", **FAST)
    names = sorted(p.name for p in (tmp_path / "new").iterdir())
    assert names == [f"frame_{n:03d}.png" for n in range(11)]
    for number, name in enumerate(names):
        picture = np.asarray(napari_dcr.open_image(tmp_path / "new" / name).array)
        assert np.array_equal(picture, expected[number])
    assert out == tmp_path / "new" / "frame_%03d.png"
    assert shell(source, tmp_path / "new" / "frame_%03d.png") == 1  # they exist
    assert shell(source, tmp_path / "new" / "frame_%03d.png", "--overwrite") == 0
    assert shell(source, tmp_path / "jpg" / "%d.jpg", "--output", "uint8") == 0
    assert len(list((tmp_path / "jpg").iterdir())) == 11
    assert shell(source, tmp_path / "jpg" / "x%d.jpg") == 1  # 16 bits
    assert not any(p.name.startswith((".", "x")) for p in (tmp_path / "jpg").iterdir())


def test_eight_bit_videos_use_the_fast_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "fast_precision", lambda device: "bf16")
    options = Options(depth=0, device="cpu")
    found = []
    for fmt, name in (("yuv420p", "b.mp4"), ("yuv420p10le", "c.mp4"), ("yuv420p", "d.mkv")):
        source = write(tmp_path / "a.mkv", [of_rgb(p, fmt) for p in moving(2)])
        steps = napari_dcr.enhance_steps(source, options, tmp_path / name)
        found.append(run_to_completion(steps).record["precision"])
    assert found == ["bf16", "fp32", "fp32"]


def test_frames_of_an_earlier_sequence_that_stay_are_named(tmp_path: Path) -> None:
    out, frames = tmp_path / "f_%d.png", np.full((5, 24, 32), 90, np.uint8)
    frames[:, ::2] += 20
    options: dict[str, Any] = {"axes": "tyx", "model": "photo", "depth": 0, "device": "cpu"}
    napari_dcr.enhance(frames, out=out, **options)
    with pytest.warns(InputWarning, match=r"2 frames .* 3 other .* from f_2\.png to f_4\.png"):
        napari_dcr.enhance(frames[:2], out=out, **options)
