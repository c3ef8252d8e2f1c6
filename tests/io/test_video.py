"""Reading of video: colours, times, numbers of frames, and damaged files."""

from __future__ import annotations

import struct
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

import napari_dcr
from napari_dcr.cli import main
from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import video_index
from napari_dcr.io.files import NotInstalled

from .conftest import FAST
from .videos import codes_of, colours_of, filled, moving, of_rgb, write

EVERYTHING = slice(None)


def read(path: Path) -> Any:
    return np.asarray(napari_dcr.open_image(path).array)


def test_a_palette_of_greys_is_grey(tmp_path: Path) -> None:
    # As ImageJ writes 8-bit stacks.
    codes = np.random.default_rng(0).integers(0, 256, (3, 32, 48)).astype(np.uint8)
    palette = np.repeat(np.arange(255, -1, -1, dtype=np.uint8)[:, None], 4, 1)
    palette[:, 0] = 255  # alpha
    frames = [av.VideoFrame.from_ndarray((plane, palette), "pal8") for plane in codes]
    found = napari_dcr.open_image(write(tmp_path / "a.avi", frames, "rawvideo"))
    assert found.axes == "tyx"
    assert found.array.dtype == np.uint8
    assert np.array_equal(np.asarray(found.array), 255 - codes)


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize(
    ("fmt", "bits"), [("yuv420p", 8), ("yuv422p", 8), ("yuv444p", 8), ("yuv420p10le", 10), ("yuv444p12le", 12)]
)  # fmt: skip
def test_colours_are_those_of_matrix_and_range(
    tmp_path: Path, fmt: str, bits: int, matrix: int, limited: bool
) -> None:
    rng = np.random.default_rng(matrix)
    colours = np.concatenate(
        [rng.random((12, 3)), 0.06 * rng.random((12, 3)), np.eye(3), [[1, 1, 1], [0, 0, 0]]]
    )
    frames, expected = [], []
    for colour in colours:
        codes = [
            np.clip(np.rint(c), 0, 2**bits - 1) for c in codes_of(colour, matrix, bits, limited)
        ]
        frames.append(filled(fmt, (16, 16), tuple(codes)))
        expected.append(colours_of(*codes, matrix, bits, limited))
    tags = {"colorspace": matrix, "color_range": 1 if limited else 2}
    path = write(tmp_path / "a.mkv", frames, tags=tags)
    found = read(path)
    assert found.dtype == np.uint16
    error = found.astype(float) / 257 - 255 * np.array(expected)[:, None, None]
    assert np.abs(error).max() < 0.03


def test_a_dark_flat_patch_keeps_its_level(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    level = 4.7 / 255
    luma = rng.poisson(40, (4, 64, 64)) / 40 * (219 * level) + 16  # noise that is not cut at black
    frames = [filled("yuv420p", (64, 64), (y, 128, 128)) for y in luma]
    path = write(tmp_path / "a.mkv", frames, tags={"colorspace": 1, "color_range": 1})
    assert read(path).mean() / 257 == pytest.approx(4.7, abs=0.1)
    assert read(path)[..., 0].mean() / 257 == pytest.approx(
        ((np.rint(luma) - 16) * 255 / 219).mean(), abs=0.01
    )


def test_colours_that_are_not_tagged_are_those_of_the_size(tmp_path: Path) -> None:
    colour = np.array([0.8, 0.25, 0.15])
    for lines, matrix in ((720, 1), (576, 6)):
        codes = codes_of(colour, matrix)
        path = write(tmp_path / f"{lines}.mp4", [filled("yuv420p", (lines, 64), codes)], "libx264", options={"qp": "0"})  # fmt: skip
        if lines == 720:
            with pytest.warns(InputWarning, match="BT.709 is assumed"):
                opened = napari_dcr.open_image(path)
        else:
            opened = napari_dcr.open_image(path)
            assert not len(opened.warnings)
        assert opened.metadata.native.matrix == matrix
        assert np.abs(np.asarray(opened.array) / 257 - 255 * colour).max() < 1.2  # 8-bit codes


def test_a_matrix_that_is_not_converted_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.mkv", [filled("yuv444p", (32, 32), (99, 120, 130))], tags={"colorspace": 8}
    )
    with pytest.raises(ValueError, match="matrix 8 of H.273"):
        napari_dcr.open_image(path)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_grey_of_an_instrument_comes_bit_for_bit(tmp_path: Path, bits: int) -> None:
    fmt = "gray" if bits == 8 else f"gray{bits}le"
    counts = np.random.default_rng(bits).integers(0, 2**bits, (3, 33, 47))
    path = write(tmp_path / "a.mkv", [filled(fmt, (33, 47), (plane,)) for plane in counts])
    opened = napari_dcr.open_image(path)
    assert opened.axes == "tyx"
    assert opened.array.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert opened.metadata.calibration.bits == (0 if bits == 8 else bits)
    assert np.array_equal(np.asarray(opened.array), counts)


@pytest.mark.parametrize(
    ("fmt", "bits"), [("bgr0", 8), ("gbrp10le", 10), ("gbrp12le", 12), ("gbrp16le", 16)]
)
def test_rgb_video_is_read_exactly(tmp_path: Path, fmt: str, bits: int) -> None:
    colours = np.random.default_rng(bits).integers(0, 2**bits, (2, 31, 45, 3))
    if bits == 8:
        frames = [of_rgb(each.astype(np.uint8), fmt) for each in colours]
    else:
        frames = [filled(fmt, (31, 45), (c[..., 1], c[..., 2], c[..., 0])) for c in colours]
    found = read(write(tmp_path / "a.mkv", frames))
    assert np.array_equal(found, np.rint(colours * (65535 / (2**bits - 1))))


def test_pictures_of_a_decoder_are_not_shared(tmp_path: Path) -> None:
    frames = [filled("gray", (32, 32), (np.full((32, 32), 40 + n),)) for n in range(6)]
    opened = napari_dcr.open_image(write(tmp_path / "a.mkv", frames))
    first = np.array(opened.array[0:1, EVERYTHING, EVERYTHING])
    read(tmp_path / "a.mkv")[:] = 0
    assert first.mean() == 40
    assert np.asarray(opened.array)[5].mean() == 45


def test_delays_of_a_gif_are_its_times(tmp_path: Path) -> None:
    pictures = [PILImage.fromarray(each).quantize(64) for each in moving(3)]
    pictures[0].save(
        tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 50, 500]
    )
    native = napari_dcr.open_image(tmp_path / "a.gif").metadata.native
    assert [float(t * native.time_base) for t in native.times] == pytest.approx([0, 0.1, 0.15])
    assert float(native.last * native.time_base) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "codec", "b_frames", "fmt"),
    [("a.mp4", "libx264", 2, "yuv420p"), ("a.mov", "libx264", 0, "yuv420p"), ("a.mkv", "libx264", 2, "yuv420p"),
     ("a.webm", "libvpx-vp9", 0, "yuv420p"), ("a.avi", "mpeg4", 0, "yuv420p"), ("b.avi", "mpeg4", 2, "yuv420p"),
     ("c.avi", "mjpeg", 0, "yuvj420p"), ("a.gif", "gif", 0, "rgb8"), ("a.y4m", "wrapped_avframe", 0, "yuv420p")],
)  # fmt: skip
def test_all_frames_are_counted_and_read_in_any_order(
    tmp_path: Path, name: str, codec: str, b_frames: int, fmt: str
) -> None:
    path = write(tmp_path / name, [of_rgb(p, fmt) for p in moving(37)], codec, b_frames=b_frames)
    whole = read(path)
    assert whole.shape == (37, 48, 64, 3)
    array = napari_dcr.open_image(path).array
    for number in np.random.default_rng(0).permutation(37):
        window = array[number : number + 1, 3:20, 5:50, 0:3]
        assert np.array_equal(window[0], whole[number, 3:20, 5:50])
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert len(list(file.decode(stream))) == 37


def test_hidden_frames_of_an_edit_list_are_not_counted(tmp_path: Path) -> None:
    frames = [of_rgb(p, "yuv420p") for p in moving(30)]
    path = write(tmp_path / "a.mp4", frames, "libx264", times=list(range(-5, 25)))
    with av.open(str(path)) as file:
        shown = [f.pts for f in file.decode(video=0)]
        assert file.streams.video[0].frames == 30
    opened = napari_dcr.open_image(path)
    assert opened.array.shape[0] == len(shown)
    assert list(opened.metadata.native.times) == shown


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("turn", [90, 180, -90])
def test_pixels_are_rotated_for_formats_without_rotation(
    tmp_path: Path, name: str, turn: int
) -> None:
    path = write(tmp_path / name, [filled("yuv420p", (32, 48), (np.arange(48) * 4 + 20, 128, 128))], "libx264", turn=turn)  # fmt: skip
    with pytest.warns(InputWarning, match="Orientation"):
        stored = read(path)
    napari_dcr.enhance(path, out=tmp_path / "a.zarr", strength=0, **FAST)
    result = zarr.open_array(tmp_path / "a.zarr", mode="r")[:]
    assert np.array_equal(result, np.rot90(stored, turn // 90, (1, 2)))


@pytest.mark.parametrize(("turn", "named"), [(30, True), (-10, True), (0.2, False)])
def test_a_turn_by_an_oblique_angle_is_named(tmp_path: Path, turn: float, named: bool) -> None:
    path = write(tmp_path / "a.mp4", [of_rgb(p, "yuv420p") for p in moving(2)], "libx264", turn=180)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    cos, sin = (round(65536 * f(np.radians(turn))) for f in (np.cos, np.sin))
    content[place : place + 36] = struct.pack(">9i", cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    opened = napari_dcr.open_image(path)
    notes = [str(note) for note in opened.warnings if "display matrix" in str(note)]
    assert [f"turns it by {turn} degrees" in note for note in notes] == [True] * named
    assert opened.metadata.orientation == 1


def test_transparency_is_named(tmp_path: Path) -> None:
    picture = np.full((16, 16, 4), 90, np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, "rgba")
    path = write(tmp_path / "a.mkv", [frame.reformat(format="bgra")])
    with pytest.warns(InputWarning, match="transparency"):
        assert read(path).shape == (1, 16, 16, 3)


SIZES = st.lists(st.sampled_from([16, 17, 31, 32]), min_size=2, max_size=2)


@settings(max_examples=8, deadline=None)
@given(SIZES, st.sampled_from(["yuv420p", "yuv422p", "yuv444p", "gray"]))
def test_odd_sizes_are_read_completely(tmp_path_factory: Any, size: list[int], fmt: str) -> None:
    path = tmp_path_factory.mktemp("odd") / "a.mkv"
    planes = (np.full(size, 120),) if fmt == "gray" else (120, 128, 128)
    shape = read(write(path, [filled(fmt, (size[0], size[1]), planes)])).shape
    assert shape[1:3] == tuple(size)


def small(folder: Path, name: str, **how: Any) -> bytes:
    codec = {"gif": "gif", "y4m": "wrapped_avframe", "webm": "libvpx-vp9", "avi": "mpeg4"}
    kind = name.partition(".")[2]
    fmt = "rgb8" if kind == "gif" else "yuv420p"
    frames = [of_rgb(p, fmt) for p in moving(20)]
    return write(folder / name, frames, codec.get(kind, "libx264"), **how).read_bytes()


def cut(name: str, share: float, **how: Any) -> Any:
    def make(folder: Path) -> Path:
        content = small(folder, name, **how)
        (folder / name).write_bytes(content[: int(len(content) * share)])
        return folder / name

    return make


def of_bytes(name: str, content: bytes) -> Any:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def other_picture(folder: Path) -> Path:
    PILImage.fromarray(moving(1)[0]).save(folder / "a.mp4", "PNG")
    return folder / "a.mp4"


def sound_alone(folder: Path) -> Path:
    with av.open(str(folder / "a.mp4"), "w") as file:
        track = file.add_stream("aac", rate=16000)
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        heard.rate = 16000
        file.mux([*track.encode(heard), *track.encode(None)])
    return folder / "a.mp4"


def sizes_that_change(folder: Path) -> Path:
    first, second = (moving(3, *size) for size in ((48, 64), (32, 32)))
    parts = []
    for n, pictures in enumerate((first, second)):
        parts.append(folder / f"{n}.y4m")
        write(parts[-1], [of_rgb(p, "yuv420p") for p in pictures], "wrapped_avframe")
    content = parts[0].read_bytes() + parts[1].read_bytes()
    for part in parts:
        part.unlink()
    (folder / "a.y4m").write_bytes(content)
    return folder / "a.y4m"


FAST_START = {"container": {"movflags": "faststart"}}
FRAGMENTS = {"container": {"movflags": "frag_keyframe+empty_moov"}, "sound": "aac"}
LIVE = {"container": {"live": "1"}}
SHORT = {"container": {"cluster_time_limit": "500"}}

BROKEN: dict[str, tuple[Any, str]] = {
    **{f"{name} of {share}": (cut(name, share), "cut off")
       for name in ("a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.gif", "a.y4m") for share in (0.9, 0.4)},
    **{f"fast start of {share}": (cut("a.mp4", share, **FAST_START), "cut off") for share in (0.97, 0.5)},
    "sound of a fast start": (
        cut("a.mp4", 0.97, sound="aac", unit=Fraction(1, 40), **FAST_START), "its frames are complete"),
    **{f"fragments of {share}": (cut("a.mp4", share, **FRAGMENTS), "cut off") for share in (0.97, 0.5, 0.02)},
    **{f"live {share}": (cut("a.webm", share, **LIVE), "cut off") for share in (0.97, 0.5, 0.02)},
    "frames of y4m": (cut("a.y4m", 0.52), "cut off after 10 frames"),
    "start of mkv": (cut("a.mkv", 0.02), "cut off"),
    "start of webm": (cut("a.webm", 0.02), "cut off"),
    "empty mp4": (of_bytes("a.mp4", b""), "empty"),
    "empty mkv": (of_bytes("a.mkv", b""), "empty"),
    "zeros": (of_bytes("a.mp4", bytes(5000)), "not that of a video"),
    "text": (of_bytes("a.avi", b"hello " * 900), "not that of a video"),
    "playlist": (of_bytes("a.mp4", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"), "not that of a video"),
    "start of mp4": (of_bytes("a.mp4", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2"), "cut off"),
    "start of gif": (of_bytes("a.gif", b"GIF89a"), ""),
    "header of y4m": (of_bytes("a.y4m", b"YUV4MPEG2 W64 H48 F10:1 C420jpeg\n"), ""),
    "png": (other_picture, "not that of a video"),
    "sound alone": (sound_alone, "no video, only audio"),
    "sizes": (sizes_that_change, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gives_an_error_of_one_line_and_no_result(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    make, reason = BROKEN[name]
    path = make(tmp_path)
    before = {p.name for p in tmp_path.iterdir()}
    assert main(["enhance", str(path), "-o", str(tmp_path / "out.mp4"), "--depth", "0", "-q"]) == 1
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if "warning: " not in line]
    assert len(lines) == 1, error
    assert lines[0].startswith(f"napari-dcr: {path}: ")
    assert reason in lines[0]
    assert {p.name for p in tmp_path.iterdir()} == before


@settings(max_examples=10, deadline=None)
@given(
    gaps=st.lists(st.integers(1, 4), min_size=3, max_size=12),
    codec=st.sampled_from([("mpeg4", "yuv420p"), ("mjpeg", "yuvj420p"), ("ffv1", "bgr0")]),
    share=st.floats(0.4, 0.95),
)
def test_an_avi_repeats_frames_with_empty_chunks(
    tmp_path_factory: Any, gaps: list[int], codec: tuple[str, str], share: float
) -> None:
    path = tmp_path_factory.mktemp("gaps") / "a.avi"
    times = [0, *np.cumsum(gaps).tolist()]
    frames = [of_rgb(p, codec[1]) for p in moving(len(times))]
    write(path, frames, codec[0], times=times)
    opened = napari_dcr.open_image(path)
    native = opened.metadata.native
    assert native.times.tolist() == times
    assert native.last == 1
    assert np.asarray(opened.array).shape == (len(times), 48, 64, 3)
    content = path.read_bytes()
    path.write_bytes(content[: int(content.index(b"idx1") * share)])
    with pytest.raises(ValueError, match="it is cut off"):
        napari_dcr.open_image(path)


def test_the_last_frame_of_an_avi_may_be_repeated(tmp_path: Path) -> None:
    content = bytearray(small(tmp_path, "a.avi"))
    stated = content.index(b"strh") + 8 + 32
    assert content[stated] == 20
    content[stated] += 3
    (tmp_path / "a.avi").write_bytes(content)
    with pytest.warns(InputWarning, match="its header counts 23 frames, but it holds 20"):
        opened = napari_dcr.open_image(tmp_path / "a.avi")
    assert opened.metadata.native.last == 1
    movi = content.index(b"movi")
    for start in (content.index(b"RIFF"), movi - 8):
        size = int.from_bytes(content[start + 4 : start + 8], "little") + 24
        content[start + 4 : start + 8] = size.to_bytes(4, "little")
    end = movi + size
    content[end - 24 : end - 24] = b"00dc\0\0\0\0" * 3
    (tmp_path / "a.avi").write_bytes(content)
    opened = napari_dcr.open_image(tmp_path / "a.avi")
    assert not len(opened.warnings)
    assert opened.metadata.native.last == 4


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.gif", "a.y4m"])
@pytest.mark.parametrize("added", [b"\0", b"\n", bytes(100)])
def test_bytes_after_the_end_are_ignored(tmp_path: Path, name: str, added: bytes) -> None:
    content = small(tmp_path, name)
    whole = read(tmp_path / name)
    (tmp_path / name).write_bytes(content + added)
    assert np.array_equal(read(tmp_path / name), whole)


def test_missing_chunks_of_an_avi_are_damage(tmp_path: Path) -> None:
    content = bytearray(small(tmp_path, "a.avi"))
    start = content.index(b"movi")
    middle = content.index(b"00dc", start + (content.index(b"idx1") - start) // 2)
    content[middle : middle + 300] = bytes(300)
    (tmp_path / "a.avi").write_bytes(content)
    with pytest.raises(ValueError, match="it is damaged: only [0-9]+ of 20 frames"):
        napari_dcr.open_image(tmp_path / "a.avi")


def test_an_unknown_block_of_a_gif_is_damage(tmp_path: Path) -> None:
    content = bytearray(small(tmp_path, "a.gif"))
    content[content.index(b"\x21\xf9\x04", len(content) // 2)] = 1
    (tmp_path / "a.gif").write_bytes(content)
    with pytest.raises(ValueError, match="it is damaged"):
        napari_dcr.open_image(tmp_path / "a.gif")


@pytest.mark.parametrize(
    ("name", "how", "mark", "shift"),
    [
        ("a.webm", {}, b"\x1f\x43\xb6\x75", 100), ("a.webm", SHORT, b"\x1f\x43\xb6\x75", 0),
        ("a.mkv", SHORT | {"sound": "aac"}, b"\x1f\x43\xb6\x75", 0),
        ("a.webm", LIVE, b"\x1f\x43\xb6\x75", 100),
        *[("a.mp4", {"container": {"movflags": "frag_keyframe+empty_moov"}}, mark, shift)
          for mark, shift in ((b"moof", -4), (b"mfhd", -4), (b"tfhd", -4), (b"trun", 8), (b"mdat", -4))],
    ],
)  # fmt: skip
def test_frames_that_a_demuxer_skips_are_damage(
    tmp_path: Path, name: str, how: Any, mark: bytes, shift: int
) -> None:
    content = bytearray(small(tmp_path, name, **how))
    assert len(napari_dcr.open_image(tmp_path / name).metadata.native.times) == 20
    place = content.rindex(mark) + shift
    length = min(300 if "mp4" not in name else 8, len(content) - place)
    content[place : place + length] = bytes(length)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="it is damaged from its byte [0-9]+ on, so frames are"):
        napari_dcr.open_image(tmp_path / name)


def test_a_frame_that_the_decoder_refuses_is_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mov", [of_rgb(p, "rgb24") for p in moving(6)], "png")
    whole = read(path)
    content = bytearray(path.read_bytes())
    place = -1
    for _ in range(4):  # the signature of the fourth picture
        place = content.index(b"\x89PNG", place + 1)
    content[place + 8 : place + 60] = bytes(52)
    path.write_bytes(content)
    with pytest.warns(InputWarning, match="t 4/6 cannot be decoded; it is replaced"):
        found = read(path)
    assert np.array_equal(found[[0, 1, 2, 4, 5]], whole[[0, 1, 2, 4, 5]])


def test_a_change_of_size_in_mkv_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        stream = file.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, (height, width) in enumerate([(48, 64)] * 2 + [(32, 32)] * 2):
            coder = av.CodecContext.create("mjpeg", "w")
            coder.width, coder.height, coder.pix_fmt = width, height, "yuvj420p"
            coder.time_base = Fraction(1, 10)
            frame = of_rgb(moving(1, height, width)[0], "yuvj420p")
            frame.pts = number
            for packet in [*coder.encode(frame), *coder.encode(None)]:
                packet.stream = stream
                file.mux(packet)
    with pytest.raises(ValueError, match="frame 2 is of 32 x 32 pixels"):
        read(tmp_path / "a.mkv")


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    content = bytearray(small(tmp_path, "a.mp4"))
    place = content.index(b"mdat") + 4
    middle = place + (content.index(b"moov") - place) // 2
    content[middle : middle + 60] = bytes(60)
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.warns(InputWarning, match="is damaged|cannot be decoded"):
        assert read(tmp_path / "a.mp4").shape == (20, 48, 64, 3)


def test_a_long_recording_is_surveyed_by_a_sample(tmp_path: Path) -> None:
    pictures = moving(150, 32, 48, 20)
    path = write(tmp_path / "a.mp4", [of_rgb(p, "yuv420p") for p in pictures], "libx264")
    sample = napari_dcr.open_image(path).sample
    assert sample is not None
    assert len(sample.numbers) <= video_index.SAMPLE
    assert np.diff(sample.numbers).max() < 8
    lazily = napari_dcr.enhance(path, **FAST)
    assert lazily.shape == (150, 32, 48, 3)
    whole = napari_dcr.enhance(read(path), axes="tyxs", **FAST)
    difference = (lazily.astype(float) - whole).mean((1, 2, 3)) / 257
    assert np.abs(difference).max() < 1  # one tone, nearly that of all frames
    assert np.std(difference) < 0.05  # and no flicker


def test_frames_of_one_colour_do_not_flicker_in_a_long_recording(tmp_path: Path) -> None:
    pictures = [*moving(80, 32, 32, 20), *[np.full((32, 32, 3), 12, np.uint8)] * 40]
    path = write(tmp_path / "a.mp4", [of_rgb(p, "yuv420p") for p in pictures], "libx264")
    result = napari_dcr.enhance(path, **FAST)
    assert np.ptp(result[85:].mean((1, 2, 3))) / 257 < 0.5


def test_a_frame_with_colours_keeps_them_where_the_sample_had_none(tmp_path: Path) -> None:
    grey = [np.repeat(p[..., :1], 3, -1) for p in moving(140, 32, 32, 40)]
    sample = {*range(0, 140, 10)}
    sample |= set(video_index.Index(np.arange(140), np.arange(0, 140, 10), 1, "").sample().numbers)
    chosen = next(n for n in range(70, 140) if n not in sample)
    grey[chosen] = np.clip(grey[chosen] * np.array([1.5, 0.5, 0.5]), 0, 255).astype(np.uint8)
    frames = [of_rgb(p, "bgr0") for p in grey]
    path = write(tmp_path / "a.mkv", frames)
    napari_dcr.open_image(path)
    if chosen in napari_dcr.open_image(path).sample.numbers:  # type: ignore[union-attr]
        pytest.skip("the frame was sampled")
    result = napari_dcr.enhance(path, **FAST).astype(float)
    assert np.ptp(result[chosen + 1], axis=-1).max() == 0
    assert (result[chosen, ..., 0] - result[chosen, ..., 1]).mean() > 2000


def test_a_resumed_recording_must_be_the_same(tmp_path: Path) -> None:
    pictures = moving(80, 32, 32, 30)
    path = write(tmp_path / "a.mkv", [of_rgb(p, "bgr0") for p in pictures])
    out = tmp_path / "a.zarr"
    steps = napari_dcr.enhance_steps(path, napari_dcr.Options(depth=0, device="cpu"), out)
    for step in steps:
        if step.done > step.total / 3:
            break
    steps.close()
    sample = napari_dcr.open_image(path).sample
    other = next(n for n in range(80) if n not in sample.numbers)  # type: ignore[union-attr]
    pictures[other][4:9, 4:9] += 9
    changed = write(tmp_path / "b.mkv", [of_rgb(p, "bgr0") for p in pictures])
    with pytest.raises(ValueError, match="resume: the image.s pixels differ"):
        napari_dcr.enhance(changed, out=out, resume=True, depth=0, device="cpu")
    napari_dcr.enhance(path, out=out, resume=True, depth=0, device="cpu")
    whole = napari_dcr.enhance(path, depth=0, device="cpu")
    assert np.array_equal(zarr.open_array(out, mode="r")[:], whole)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.mkv", [of_rgb(moving(1)[0], "yuv420p")])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(NotInstalled, match=r"napari-dcr\[video\]"):
        napari_dcr.open_image(path)


def test_h264_with_b_frames_in_avi_has_an_even_rate(tmp_path: Path) -> None:
    frames = [of_rgb(p, "yuv420p") for p in moving(24)]
    with av.open(str(tmp_path / "a.avi"), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"x264-params": "bframes=2:b-adapt=0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in [*frames, None]:
            for packet in stream.encode(frame):
                packet.pts = packet.dts  # all that an AVI can state
                file.mux(packet)
    native = napari_dcr.open_image(tmp_path / "a.avi").metadata.native
    assert np.diff(native.times).tolist() == [1] * 23
    assert (native.last, native.rate) == (1, 25)


def test_times_of_a_variable_rate(tmp_path: Path) -> None:
    times = [0, 40, 50, 333, 1000]
    frames = [of_rgb(p, "yuv420p") for p in moving(5)]
    path = write(
        tmp_path / "a.mp4", frames, "libx264", times=times, unit=Fraction(1, 1000), last=70
    )
    opened = napari_dcr.open_image(path)
    native = opened.metadata.native
    assert [float(t * native.time_base) for t in native.times] == [t / 1000 for t in times]
    assert float(native.last * native.time_base) == 0.07
    assert opened.metadata.calibration.sizes["t"] == pytest.approx(0.25)
