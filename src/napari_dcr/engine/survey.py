"""The survey: measure a plane or stack in one streamed pass, independent of tiles and chunks."""

from __future__ import annotations

import functools
import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine.survey_blocks import (
    Block,
    Extent,
    Extreme,
    SurveyRequest,
    common_extent,
    joined_extent,
    merged_ends,
)
from napari_dcr.image.defect_survey import DefectSurvey
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import Histogram
from napari_dcr.image.noise import fit_noise
from napari_dcr.image.noise_blocks import BLOCKS, in_unit
from napari_dcr.image.noise_model import NoiseModel
from napari_dcr.image.padding import Colour, Padding
from napari_dcr.image.padding_survey import PlaneAreas

READERS = 2
"""Number of threads that read and measure blocks."""

TASK_PIXELS = 1 << 15
"""Smallest number of pixels that a thread measures at once, if there are several blocks."""

NOISE_ROWS = 100_000
"""Largest number of local noise statistics to keep, sampled evenly from all blocks."""

SATURATED, BLACK = 1e-3, 1e-4
"""Largest share of differing pixels in a frame that counts as saturated, or as black.

One pixel may always differ.  The limit for black is lower, because single photons are signal."""

Reader = Callable[[slice, slice], NDArray[Any]]
"""Reads a window of one plane as (C, h, w) in the image's own dtype."""


BlockTask = tuple[Reader, slice, slice, tuple[Padding, ...]]
"""Reader of a plane, rows and columns of a block, and the padding of the plane."""


NoiseWindow = tuple[int, slice, slice]
"""Number of a plane, rows and columns of a window in which the noise was measured."""


@dataclass(frozen=True)
class Survey:
    """Measurements of a plane, or of a group of planes.

    Attributes
    ----------
    thumbnail : ndarray, shape (C, 64, 64)
        Area means in the image's own units; missing pixels do not count.
    histogram : Histogram
        Histogram of all intensities, or of a sample of the pixels.
    exact : bool
        Whether the histogram counts all pixels.
    digest : str
        SHA-256 of all pixels, in the order of the blocks.
    extremes : ndarray, shape (planes, 2)
        Smallest and largest value of each plane; NaN where all pixels are missing.
    fills : tuple of Extreme
        Smallest and largest value of the planes that have more than one value.
    pixels : int
        Number of pixels that are not missing.
    is_grey : bool
        Whether all colour samples are equal in every pixel.
    unit : float
        Unit of ``noise``, a power of two that keeps squares from underflow and overflow.
    noise : ndarray, shape (n,), or None
        Result of `napari_dcr.image.noise_blocks.block_statistics`; None if not requested.
    noise_windows : tuple of (int, slice, slice)
        Where it was measured: number of a plane, rows and columns.
    defects : Defects or None
        Sensor defects; None if not requested.
    extents : tuple of Extent or None
        Rows and columns of each plane outside which all of its pixels are missing; None if all are.
    whole : Extent
        All rows and columns.
    padding : dict
        Kinds of padding of planes, by their index; only planes that have some.
    uniform : dict
        Planes in which all pixels have one value or colour, with the reason to leave them alone.
    blank : dict
        Reason why a plane is not representative of the others, by its number: it has no data, or
        all or nearly all of its pixels are equal.  Empty if this holds for every plane.
    """

    thumbnail: NDArray[np.float64]
    histogram: Histogram
    exact: bool
    digest: str
    extremes: NDArray[np.float64]
    fills: tuple[Extreme, ...]
    pixels: int
    is_grey: bool
    unit: float = 1.0
    noise: NDArray[Any] | None = None
    noise_windows: tuple[NoiseWindow, ...] = ()
    defects: Defects | None = None
    extents: tuple[Extent | None, ...] = ()
    whole: Extent = ((0, 0), (0, 0))
    padding: dict[int, tuple[Padding, ...]] = field(default_factory=dict)
    uniform: dict[int, str] = field(default_factory=dict)
    blank: dict[int, str] = field(default_factory=dict)

    @property
    def extent(self) -> Extent:
        """Rows and columns outside which all pixels of all planes are missing."""
        return functools.reduce(joined_extent, self.extents, None) or self.whole

    def extent_within(self, padding: Mapping[int, tuple[Padding, ...]]) -> Extent:
        """Rows and columns outside which all pixels of the other planes are missing, or solid padding.

        Parameters
        ----------
        padding : dict
            Kinds of padding of planes, by their index.  `blank` planes do not count.
        """
        joined: Extent | None = None
        for number, own in enumerate(self.extents):
            if own is None or number in self.blank:
                continue
            rest: Extent | None = own
            for kind in padding.get(number, ()):
                rest = common_extent(rest, kind.around or self.whole)
            joined = joined_extent(joined, rest)
        return joined or self.whole


class Surveyor:
    """Accumulates the measurements of blocks, in order, into a `Survey`.

    Parameters
    ----------
    request : SurveyRequest
    """

    def __init__(self, request: SurveyRequest) -> None:
        self.request = request
        size = request.channels, request.height, request.width
        self._thumbnail = request.new_thumbnail()
        self._histogram = Histogram(request.dtype)
        self._blocks, self._pixels, self._is_grey = 0, 0, True
        self._ends: list[tuple[Extreme, ...]] = []
        self._sizes: list[int] = []  # number of values that are not missing, for each plane
        self._colours: list[set[tuple[float, ...] | None]] = []
        self._areas = PlaneAreas(request.height, request.width)
        self._padding: dict[int, tuple[Padding, ...]] = {}
        self._steady: set[Colour] | None = None  # colours of padding that all planes so far have
        self._extents: list[Extent | None] = []
        # Statistics with the position and the unit in which they were measured.
        self._noise: list[tuple[NoiseWindow, float, NDArray[Any], NDArray[Any]]] = []
        self._defects = (
            DefectSurvey(
                request.channels, *request.area_size, request.dtype.kind in "iu", request.frames
            )
            if request.defects
            else None
        )
        self._unit = 0.0
        self._added, self._every, self._rows = 0, 1, 0
        self._digest = hashlib.sha256(f"{size} {request.dtype.name}".encode())

    @property
    def done(self) -> int:
        """Number of blocks that have been added."""
        return self._blocks

    def keeps_noise_of(self, number: int) -> bool:
        """Whether the noise statistics of the block with this number may be kept.

        Of long stacks few are. Which blocks of colour pictures have any is not known in advance.
        """
        return self.request.channels > 1 or number % self._every == 0

    @np.errstate(over="ignore", invalid="ignore")
    def add(self, block: Block) -> None:
        """Add the measurements of the next block."""
        self._thumbnail.merge(block.thumbnail)
        self._histogram.merge(block.histogram)
        self._digest.update(block.digest)
        self._pixels += block.pixels
        self._is_grey = self._is_grey and block.is_grey
        if self._blocks % len(self.request.blocks) == 0:  # the first one of a plane
            self._ends.append(())
            self._sizes.append(0)
            self._colours.append(set())
            self._extents.append(None)
            self._areas = PlaneAreas(self.request.height, self.request.width)
        self._areas.add(block.solid, *self.request.blocks[self._blocks % len(self.request.blocks)])
        self._extents[-1] = joined_extent(self._extents[-1], block.extent)
        self._blocks += 1
        self._sizes[-1] += block.pixels
        self._colours[-1].add(block.colour)
        self._ends[-1] = merged_ends(self._ends[-1], block.ends)
        if any(end.value for end in block.ends):
            self._unit = max(self._unit, block.unit)
        plane = len(self._ends) - 1
        if self.request.noise and block.is_grey:
            if self._added % self._every == 0:
                assert block.noise is not None
                assert block.clean_noise is not None
                assert block.noise_window is not None
                place = plane, *block.noise_window
                self._noise.append((place, block.unit, block.noise, block.clean_noise))
                self._rows += len(block.noise)
            self._added += 1
            if self._rows > NOISE_ROWS and len(self._noise) > 1:
                self._noise, self._every = self._noise[::2], 2 * self._every
                self._rows = sum(len(own) for _, _, own, _ in self._noise)
        ends_plane = self._blocks % len(self.request.blocks) == 0
        if self._defects is not None and block.defects is not None:
            self._defects.add(block.defects)
            if ends_plane:
                self._defects.end_frame()
        if ends_plane and self._ends[-1]:
            least, largest = self._ends[-1]
            kinds = self._areas.padding(
                self.request.dtype, self.request.bits, least.value, largest.value, largest.next
            )
            if kinds:
                self._padding[plane] = kinds
            if not self._may_be_blank(plane):
                own = {kind.colour for kind in kinds}
                self._steady = own if self._steady is None else self._steady & own

    def add_planes(
        self, readers: Iterable[Reader], padding: Iterable[tuple[Padding, ...]] = repeat(())
    ) -> Generator[None, None, None]:
        """Read and measure planes block by block; yields after each so that the caller can stop.

        Parameters
        ----------
        readers : iterable of callable
            Reader of each plane.
        padding : iterable of tuple of Padding
            Padding of each plane, which is left out.
        """
        planes = zip(readers, padding)  # noqa: B905 - the second may be endless
        work = enumerate(
            (read, *block, kinds) for read, kinds in planes for block in self.request.blocks
        )
        # Threads that exchange every single block of small frames would mostly wait for each other.
        size = max(1, TASK_PIXELS // (self.request.height * self.request.width))
        tasks = iter(lambda: list(islice(work, size)), [])
        ahead: deque[Future[list[Block]]] = deque()
        with ThreadPoolExecutor(READERS, "survey") as pool:
            try:
                ahead.extend(pool.submit(self._measure, t) for t in islice(tasks, 2 * READERS))
                while ahead:
                    for block in ahead.popleft().result():
                        self.add(block)
                        yield
                    ahead.extend(pool.submit(self._measure, t) for t in islice(tasks, 1))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _measure(self, work: list[tuple[int, BlockTask]]) -> list[Block]:
        request = self.request
        if not self._may_have_padding:
            request = replace(request, solid=False)
        return [
            request.measure(
                read(rows, columns), rows.start, columns.start, padding, self.keeps_noise_of(number)
            )
            for number, (read, rows, columns, padding) in work
        ]

    @property
    def _may_have_padding(self) -> bool:
        """False once no padding can be common to all planes, if only such padding counts."""
        return not self.request.steady or self._steady != set()

    @np.errstate(over="ignore", invalid="ignore")
    def finish(self) -> Survey:
        """Return the survey of all blocks that were added."""
        extremes = [[end.value for end in ends] or [np.nan, np.nan] for ends in self._ends]
        none: tuple[Extreme, ...] = ()
        various = (ends for ends in self._ends if ends and ends[0].value != ends[1].value)
        ends = functools.reduce(merged_ends, various, none)
        unit = self._unit or 1.0
        noise = clean_noise = defects = None
        windows: tuple[NoiseWindow, ...] = ()
        if self.request.noise:
            # A plane of one value, such as a black frame, holds no information about noise.
            varied = {n for n, ends in enumerate(extremes) if ends[0] != ends[1]}
            found = [entry for entry in self._noise if entry[0][0] in varied]
            windows = tuple(place for place, *_ in found)
            empty = np.empty(0, BLOCKS)
            noise = np.concatenate([empty, *(in_unit(own, u / unit) for _, u, own, _ in found)])
            clean_noise = np.concatenate(
                [empty, *(in_unit(own, u / unit) for _, u, _, own in found)]
            )
        if self._defects is not None:

            def model() -> NoiseModel | None:
                if not self.request.measured or clean_noise is None or not len(clean_noise):
                    return None
                return fit_noise(clean_noise, self.request.dtype.kind in "iu").model

            (top, _), (left, _) = self.request.area
            defects = self._defects.finish(model, unit)
            defects = defects.placed(top, left, self.request.height, self.request.width)
            if len(defects.hot):
                # Without hot pixels the result must equal that of a survey that ignores defects.
                noise = noise if noise is None else clean_noise
                if self.request.histogram:
                    self._histogram.remove(self._defects.hot_values)
        return Survey(
            self._thumbnail.mean,
            self._histogram,
            self.request.histogram,
            self._digest.hexdigest(),
            np.array(extremes),
            ends,
            self._pixels,
            self._is_grey,
            unit,
            noise,
            windows,
            defects,
            tuple(self._extents),
            ((0, self.request.height), (0, self.request.width)),
            self._padding if self._may_have_padding else {},
            self._uniform(),
            self._blank(),
        )

    def _uniform(self) -> dict[int, str]:
        """Planes of one value or colour."""
        reasons = ((number, self._why_uniform(number)) for number in range(len(self._ends)))
        return {number: reason for number, reason in reasons if reason}

    def _why_uniform(self, plane: int) -> str:
        """Reason to call a plane uniform; empty if it is not."""
        ends = self._ends[plane]
        if not ends:
            return ""
        (colour, *more) = self._colours[plane]
        if ends[0].value == ends[1].value:
            return f"every pixel has the value {ends[0].value:.6g}"
        if colour is not None and not more:
            named = ", ".join(f"{value:.6g}" for value in colour)
            return f"every pixel has the colour ({named})"
        return ""

    def _nearly_all(self, plane: int, end: int, most: float) -> str:
        """Reason to call a plane black (end 0) or saturated (end 1); empty if it is not.

        ``most`` is the largest share of pixels with other values.
        """
        ends, size = self._ends[plane], self._sizes[plane]
        if not ends or size - ends[end].count > max(1, most * size):
            return ""
        share = ends[end].count / size
        return f"{share:.3%} of the pixels have the value {ends[end].value:.6g}"

    def _may_be_blank(self, plane: int) -> bool:
        """Whether `_blank` may count a plane, depending on all planes."""
        return not self._ends[plane] or bool(
            self._why_uniform(plane)
            or self._nearly_all(plane, 1, SATURATED)
            or self._nearly_all(plane, 0, BLACK)
        )

    def _blank(self) -> dict[int, str]:
        """Planes without data, or with nearly all pixels equal, unless every plane is like that."""
        blank, dark = self._uniform(), {}
        with_data = sum(map(bool, self._ends))
        for plane in range(len(self._ends)):
            if plane in blank:
                continue
            if reason := self._nearly_all(plane, 1, SATURATED):
                blank[plane] = reason
            elif reason := self._nearly_all(plane, 0, BLACK):
                dark[plane] = reason
        # Otherwise the frames show single photons.
        if 2 * (len(dark) + len(blank)) <= with_data:
            blank |= dark
        if len(blank) >= with_data:
            return {}
        blank |= {n: "no pixel holds data" for n, ends in enumerate(self._ends) if not ends}
        return dict(sorted(blank.items()))
