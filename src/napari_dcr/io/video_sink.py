"""Writing of video: H.264 in mp4 and mov, lossless FFV1 in mkv, with the source's times and sound."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.image.axes import Layout
from napari_dcr.image.intensity import Scale
from napari_dcr.input_warnings import warn
from napari_dcr.io.files import naming_result, partial_path
from napari_dcr.io.frame_sinks import FrameSink
from napari_dcr.io.metadata import Metadata
from napari_dcr.io.video import MATRIX_OF, VideoInfo
from napari_dcr.io.video_colours import BT709, LIMITED, MATRICES, UNTAGGED, WHITE, codes_of
from napari_dcr.io.video_index import import_av

DTYPES = ("uint8", "uint16")
"""Dtypes that can be written."""

LOSSY = (".mp4", ".m4v", ".mov")
"""Suffixes of videos with lossy compression."""

QUALITY = 70
"""Default quality of H.264, from 0 to 100; it is a constant rate factor of 15."""

PRESET = "veryfast"
"""Preset of x264. Slower ones make files a quarter smaller, but use processor time that the network
needs."""

LOOKAHEAD = 4
"""Number of frames that x264 reads ahead. With its default of 10, files are 2 to 5 % larger, their PSNR is
0.06 to 0.25 dB higher, and more frames are left to encode after the last one is enhanced."""

GREY_BITS = (10, 12, 14)
"""Bit depths of grey in FFV1, besides 8 and 16."""

FASTEST, SLOWEST = 1 / 1000, 1.0
"""Shortest interval and longest mean interval, in seconds, with which frames are shown."""

_TECHNICAL = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "rotate", "alpha_mode", "software", "vendor_id", "handler_name")  # fmt: skip
"""Metadata of a container that describe the source file only."""


class VideoSink(FrameSink):
    """Sink that writes a video frame by frame, and moves the complete file to its path.

    Parameters
    ----------
    layout : Layout
    dtype : dtype
    path : Path
    metadata : Metadata
        Metadata of the source image.
    quality : int
        Quality of H.264, from 0 to 100.
    """

    def __init__(
        self, layout: Layout, dtype: np.dtype[Any], path: Path, metadata: Metadata,
        quality: int = QUALITY,
    ) -> None:  # fmt: skip
        super().__init__(layout, dtype, path, metadata)
        import_av()
        self._is_lossless = path.suffix.lower() not in LOSSY
        self._quality = quality
        native = metadata.native
        same = isinstance(native, VideoInfo) and len(native.times) == self.count
        self._source: VideoInfo | None = native if same else None
        lost = "the sound and the frame times"
        if isinstance(native, VideoInfo) and native.chapters:
            lost = "the sound, the chapters and the frame times"
        if isinstance(native, VideoInfo) and not same and native.is_joined:
            warn(
                f"out: {path.name} joins videos with other files, or along another axis than t, so {lost}"
                " of the videos are left out"
            )
        elif isinstance(native, VideoInfo) and not same:
            warn(
                f"out: {path.name} and {native.path.name} have different numbers of frames, so {lost} are"
                " left out"
            )
        self._is_grey = "s" not in layout.axes
        self._partial = partial_path(path)
        self._container: Any = None
        self._sound_packets: Iterator[Any] = iter(())
        self._white = 0  # of 16 bits, if the bit depth of the source is not known
        self._clipped = self._samples = 0
        self._marks: list[Any] = []  # dispositions of the sound tracks
        self._next_sound: Any = None  # packet that has been read, but not copied
        self._closing = contextlib.ExitStack()

    def show(self, scale: Scale) -> None:
        """Show the white point of the image as white, if the bit depth of the source is not known.

        All frames have the white of the first ones, so that they do not flicker.
        """
        is_known = self._source is not None or self._metadata.calibration.bits
        if not (is_known or self._is_lossless or self._begun or self._next):
            self._white = max(self._white, min(round(scale.white), 65535))

    def _begin(self) -> None:
        av = import_av()
        source = self._source
        self._times, self._time_base, rate = self._clock()
        options = {} if self._is_lossless else {"movflags": "faststart"}
        with naming_result(self._partial, self.result):
            self._container = av.open(f"file:{self._partial}", "w", options=options)
        codec = "ffv1" if self._is_lossless else "libx264"
        crf = f"{51 * (100 - self._quality) / 100:.1f}"
        settings = (
            {}
            if self._is_lossless
            else {"crf": crf, "preset": PRESET, "rc-lookahead": str(LOOKAHEAD)}
        )
        stream = self._container.add_stream(codec, rate=rate, options=settings)
        stream.width, stream.height = self._layout.width, self._layout.height
        stream.pix_fmt = self._format = self._pixel_format()
        coder = stream.codec_context
        coder.time_base, coder.max_b_frames = (
            self._time_base,
            0,
        )  # B-frames would make the durations wrong
        coder.gop_size = max(1, min(250, round(2 * rate)))
        self._matrix = BT709
        if source is not None:
            self._matrix = source.matrix if source.matrix in MATRICES else BT709
            coder.sample_aspect_ratio = source.aspect
            if self._is_lossless and source.aspect != 1:
                warn(
                    f"out: {self.result.name} cannot store that pixels are {source.aspect} times as wide"
                    " as they are high; write .mp4 or .mov to keep it"
                )
        assumed = UNTAGGED if self._matrix != BT709 else BT709
        primaries, transfer = (
            (BT709, BT709) if source is None else (source.primaries, source.transfer)
        )
        coder.color_primaries = assumed if primaries == UNTAGGED else primaries
        coder.color_trc = assumed if transfer == UNTAGGED else transfer
        if self._format.startswith("yuv"):
            coder.colorspace, coder.color_range = self._matrix, LIMITED
        if (orientation := self._metadata.orientation) != 1:
            a, b, c, d = (value << 16 for value in MATRIX_OF[orientation])
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        self._stream = stream
        stream.disposition = av.stream.Disposition.default
        if source is not None:
            self._container.metadata.update(_kept(source.texts))
            stream.metadata.update(_kept(source.stream_texts))
            self._container.set_chapters(
                [
                    {
                        "id": number, "start": chapter.start, "end": chapter.end,
                        "time_base": Fraction(1, 1000), "metadata": chapter.texts,
                    }
                    for number, chapter in enumerate(source.chapters)
                ]
            )  # fmt: skip
            if not source.is_joined:
                self._add_sound(source)
            elif source.sound:
                warn(
                    f"out: the sound of {', '.join(source.sound)} is left out, because"
                    f" {self.result.name} joins several files; join their sound in a video editor"
                )
        self._container.start_encoding()

    def _clock(self) -> tuple[NDArray[np.int64], Fraction, Fraction]:
        """Start of each frame and end of the last one, the unit of time, and frames per second."""
        source = self._source
        if source is not None:
            times = np.append(source.times, source.times[-1] + source.last)
            return times, source.time_base, source.rate
        calibration = self._metadata.calibration
        interval, listed = calibration.interval, calibration.times
        steps = np.diff(listed) if len(listed) == self.count > 1 else np.array([interval])
        mean, base = float(steps.mean()), Fraction(1, 90000)
        if not (mean <= SLOWEST and steps.min() >= FASTEST):
            uneven = f" to {steps.max():.4g}" if not calibration.is_even else ""
            warn(
                f"out: {self.result.name} is written with 25 frames per second, because"
                + (
                    f" the image states intervals of {steps.min():.4g}{uneven} s between frames"
                    if interval
                    else " the image has no frame times"
                )
            )
            steps, mean = np.array([1 / 25]), 1 / 25
        if len(steps) == self.count - 1:
            steps = np.append(steps, np.median(steps))  # the last frame is shown as long as others
        starts = np.append(0, np.cumsum(np.broadcast_to(steps, self.count)))
        times = np.rint(starts / float(base)).astype(np.int64)
        return times, base, (1 / Fraction(mean)).limit_denominator(1001)

    @property
    def bits(self) -> int:
        """Bit depth of the stored samples."""
        if self._is_lossless:
            return super().bits
        return 8 if self._source_bits <= 8 else 10

    @property
    def _source_bits(self) -> int:
        """Bit depth of the samples that are enhanced."""
        if self._dtype == np.uint8:
            return 8
        if self._source is not None:
            return self._source.bits
        return self._metadata.calibration.bits or 16

    def _pixel_format(self) -> str:
        """Name of the pixel format in FFmpeg."""
        bits = self._source_bits
        if self._is_lossless:
            if not self._is_grey:
                return "bgr0" if self._dtype == np.uint8 else "gbrp16le"
            if self._dtype == np.uint8:
                return "gray"
            return f"gray{bits if bits in GREY_BITS else 16}le"
        kind = "yuv420p"
        if self._layout.width % 2 or self._layout.height % 2:
            kind = "yuv444p"
            warn(
                f"out: {self.result.name} has an odd number of rows or columns; its colours are stored"
                " at full resolution (4:4:4), which some players do not show; crop it, or write .mkv"
            )
        return kind if bits <= 8 else f"{kind}10le"

    def _add_sound(self, source: VideoInfo) -> None:
        """Copy the source's sound tracks that the container supports."""
        av = import_av()
        sound = self._closing.enter_context(av.open(f"file:{source.path}"))
        self._tracks = {}
        for stream in sound.streams.audio:
            name = stream.codec_context.name
            if not _can_hold(self._container.format.name, stream):
                others = [suffix for suffix, kind in _KINDS.items() if _can_hold(kind, stream)]
                warn(
                    f"out: {self.result.name} cannot hold the sound of {source.path.name}, which is"
                    f" {name}; it is left out"
                    + (f"; write {' or '.join(others)} to keep it" if others else "")
                )
                continue
            track = self._tracks[stream.index] = self._container.add_stream_from_template(stream)
            track.metadata.update(_kept(dict(stream.metadata)))
            track.disposition = stream.disposition
            # FFmpeg reads the mark for the hearing impaired of MP4 as that of captions, too.
            self._marks.append(stream.disposition & ~av.stream.Disposition.captions)
        if self._tracks:
            streams = [sound.streams[index] for index in self._tracks]
            self._sound_packets = _sound_packets(source.path, sound, streams, self._is_lossless)

    def _copy_sound(self, until: Fraction | None) -> None:
        """Copy packets of sound that start before a time in seconds; all if None."""
        while True:
            packet = self._next_sound or next(self._sound_packets, None)
            self._next_sound = packet
            if packet is None or (until is not None and packet.dts * packet.time_base > until):
                return
            self._next_sound = None
            packet.stream = self._tracks[packet.stream.index]
            self._container.mux(packet)

    def _write(self, number: int, frame: NDArray[Any]) -> None:
        picture = self._converted(frame)
        picture.pts, picture.time_base = int(self._times[number]), self._time_base
        self._mux(self._stream.encode(picture))

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            place = int(np.searchsorted(self._times, packet.pts))
            packet.duration = int(self._times[place + 1] - self._times[place])
            self._copy_sound(packet.pts * packet.time_base)
            self._container.mux(packet)

    def _complete(self) -> None:
        self._mux(self._stream.encode(None))
        self._copy_sound(None)
        self._container.close()
        self._container = None
        self._closing.close()
        self._name_lost_marks()
        if self._clipped:
            warn(
                f"out: {self.result.name}: {self._clipped / self._samples:.2%} of the pixels are brighter"
                " than its white, and are clipped; lower the exposure, or write .tif or .zarr"
            )
        os.replace(self._partial, self.result)

    def _name_lost_marks(self) -> None:
        """Warn about marks of sound tracks that the format has not stored."""
        if not any(self._marks):
            return
        with import_av().open(f"file:{self._partial}") as written:
            found = [stream.disposition for stream in written.streams.audio]
        for number, (mark, kept) in enumerate(zip(self._marks, found, strict=True)):
            if lost := mark & ~kept:
                names = (each.name or "" for each in type(mark) if each in lost)
                warn(
                    f"out: {self.result.name} cannot mark sound track {number + 1} as"
                    f" {' and '.join(names).replace('_', ' ')}, as the source does"
                    + ("" if self._is_lossless else "; write .mkv to keep such marks")
                )

    def _discard(self) -> None:
        if self._container is not None:
            with contextlib.suppress(Exception):  # the file is deleted anyway
                self._container.close()
        self._closing.close()
        self._partial.unlink(missing_ok=True)

    def _converted(self, frame: NDArray[Any]) -> Any:
        """Convert a frame of shape (samples, h, w) to a frame of FFmpeg."""
        av = import_av()
        height, width = frame.shape[1:]
        if self._is_lossless and self._is_grey:
            picture = av.VideoFrame(width, height, self._format)
            largest = 255 if self._format == "gray" else 2 ** int(self._format[4:-2]) - 1
            kind = "u1" if largest == 255 else "<u2"
            self._count_clipped(frame[0], largest)
            codes_of(picture.planes[0], width, height, kind)[:] = np.minimum(frame[0], largest)
            return picture
        if self._format == "bgr0":
            return av.VideoFrame.from_ndarray(
                np.ascontiguousarray(frame.transpose(1, 2, 0)), "rgb24"
            ).reformat(format="bgr0")
        grey = self._is_grey or all(np.array_equal(frame[0], other) for other in frame[1:])
        picture = av.VideoFrame(width, height, "gbrp16le")
        for plane, place in zip(picture.planes, (1, 2, 0), strict=True):
            samples = frame[0 if len(frame) == 1 else place]
            codes = codes_of(plane, width, height, "<u2")
            if self._format == "gbrp16le":
                codes[:] = samples
            else:
                self._scale(samples, codes)
        if self._format == "gbrp16le":
            return picture
        coded = picture.reformat(
            format=self._format, dst_colorspace=self._matrix, dst_color_range=LIMITED
        )
        if grey:  # rounding must not tint a grey frame
            middle = 128 if "10" not in self._format else 512
            for plane in coded.planes[1:]:
                codes_of(plane, plane.width, plane.height)[:] = middle
        coded.colorspace, coded.color_range = self._matrix, LIMITED
        return coded

    def _count_clipped(self, samples: NDArray[Any], white: int) -> None:
        """Count samples that white does not represent; those near it are saturated anyway."""
        self._samples += samples.size
        if samples.dtype != np.uint8:
            self._clipped += int(np.count_nonzero(samples > min(white + white // 50, 65535)))

    def _scale(self, samples: NDArray[Any], out: NDArray[np.uint16]) -> None:
        """Scale samples to the white of FFmpeg's converter."""
        white = 255 if samples.dtype == np.uint8 else 65535
        if self._is_grey and samples.dtype == np.uint16 and self._source_bits < 16:
            white = 2**self._source_bits - 1
        if white == 65535 and self._white > 0:
            white = self._white
        if white < 65535:
            self._count_clipped(samples, white)
            table = np.rint(np.arange(white + 1) * (WHITE / white)).astype(np.uint16)
            out[:] = table[np.minimum(samples, white)]
            return
        # This is samples * 65283 / 65535, rounded, in integers, which is many times faster than floats.
        less = samples >> np.uint16(1)
        less += np.uint16(65)
        less //= np.uint16(130)
        np.subtract(samples, less, out=out)


_KINDS = {".mkv": "matroska", ".mov": "mov", ".mp4": "mp4"}
"""FFmpeg's names of the formats of results."""


def _can_hold(kind: str, stream: Any) -> bool:
    """Whether a format can hold a sound track.

    Only beginning a file tells: muxers refuse codecs that they list, such as Opus in mov.
    """
    av = import_av()
    try:
        with av.open(io.BytesIO(), "w", format=kind) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _sound_packets(path: Path, sound: Any, streams: list[Any], is_cut: bool) -> Iterator[Any]:
    """Packets of sound tracks, without those that an edit list hides.

    The packets before the start stay, as mp4 and mov hide them, too.  If ``is_cut``, only those
    stay that a decoder needs for the first sound.
    """
    av = import_av()
    try:
        for packet in sound.demux(streams):
            if not packet.size or packet.dts is None:
                continue
            start = packet.dts if packet.pts is None else packet.pts
            if packet.is_discard if start >= 0 else is_cut and start + 2 * packet.duration <= 0:
                continue
            yield packet
    except av.FFmpegError as error:
        raise ValueError(f"{path}: its sound cannot be read; it is cut off or damaged") from error


def _kept(texts: dict[str, str]) -> dict[str, str]:
    """Metadata that also describe the result."""
    return {
        key: text
        for key, text in texts.items()
        if key.lower() not in _TECHNICAL and "DURATION" not in key
    }
