"""Enhance regions of an image exactly as in the whole image, for previews and views."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine import allocator
from napari_dcr.engine.conditioning import ImageConditioning
from napari_dcr.engine.frame_features import FeatureMemory
from napari_dcr.engine.group_conditioning import GroupConditioning, RemovedNoise
from napari_dcr.engine.groups import Group
from napari_dcr.engine.neighbours import Neighbourhood
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.region_tiles import PlaneTask, run_tile
from napari_dcr.engine.regions import (
    Rectangle,
    Region,
    check_region,
    cut_tiles,
    is_within,
    local_index,
    planes_in,
)
from napari_dcr.engine.result import Enhancement, describe_run
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sources import Opened, compute_dask, is_dask
from napari_dcr.engine.survey_cache import REMEMBERED
from napari_dcr.engine.tiles import Grid, Tile, relative
from napari_dcr.image.axes import Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import check_dtype
from napari_dcr.options import Options

CORE = 1024
"""Side of the tiles in pixels if the option ``tile`` is "auto"."""

UNCUT = 1.75
"""Largest window of a region that is not cut, in squares of `CORE`.

The two halos at a cut are computed twice, which takes an eighth of the time for 1600 x 1065 pixels.
A larger window would delay a cancellation."""

KEPT_BYTES = 1 << 29
"""Size of the cache of network results, which new values of strength, exposure, denoising and
saturation reuse."""

QUICK = 0.05
"""Longest check, in seconds, for changed pixels that is repeated before every region."""


Picture = NDArray[np.float32]
"""Network's result for a tile at one depth, (C, h, w)."""


@dataclass(frozen=True)
class RegionStep:
    """Progress of a region.

    Attributes
    ----------
    done, total : int
        Number of pixels that have been enhanced, and that will be enhanced in total.
    message : str
        Description of the current step, for display.
    coarse : Enhancement or None
        The whole region at depth 0, in one of the steps if ``coarse_first`` is set.  Further
        steps refine its array in place, until it holds the result.
    """

    done: int
    total: int
    message: str
    coarse: Enhancement | None = None


class RegionEnhancer:
    """Enhances regions of one image, and caches results for the next region or setting.

    The whole image is surveyed once and the global net runs once.  The network's results of a
    region at depth 0 and at the chosen depth are cached.  A new value of strength, exposure,
    denoising, saturation or output of the same region needs no network run, and neither does a
    depth that was computed before.

    Parameters
    ----------
    opened : Opened
        The image; only the survey reads all of it.
    keep : int
        Size of the cache in bytes.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_dcr.enhancement import run_to_completion
    >>> from napari_dcr.io.opening import open_image
    >>> dim = np.full((300, 400), 900, np.uint16)
    >>> region = (slice(100, 120), slice(200, 240))
    >>> enhancer = RegionEnhancer(open_image(dim))
    >>> run_to_completion(enhancer.steps(Options(depth=1), region)).image.shape
    (20, 40)
    """

    def __init__(self, opened: Opened, keep: int = KEPT_BYTES) -> None:
        self._opened = opened
        self._keep = keep
        self._fingerprint: str | None = None
        self._next_look = 0.0
        self._state: tuple[str | None, float | None] | None = None
        self._seen: OrderedDict[tuple[tuple[int, int], ...], str] = OrderedDict()
        self._conditioning = ImageConditioning(opened)
        self._pictures: OrderedDict[tuple[Any, Rectangle], dict[int, Picture]] = OrderedDict()
        self._features = FeatureMemory()
        self._bytes = 0

    def is_current(self) -> bool:
        """Whether the cached results belong to the image's current pixels."""
        return self._conditioning.is_current()

    def steps(
        self,
        options: Options,
        region: Region,
        *,
        stages: bool = False,
        coarse_first: bool = False,
        core: int = CORE,
    ) -> Generator[RegionStep, None, Enhancement]:
        """Enhance a region; closing the generator cancels between two tiles.

        Parameters
        ----------
        options : Options
        region : tuple of slice
            One slice with start and stop for each axis of the image.
        stages : bool
            Return all outputs y_0 to y_depth of the cascade, along a new first axis.
        coarse_first : bool
            Compute the whole region at depth 0 first, so that there is a first result to
            show early.
        core : int
            Side of the tiles in pixels, unless the options define it.

        Returns
        -------
        Enhancement
            The enhanced region, and a record that includes its position.
        """
        # Otherwise every tile maps the pages of its feature maps again.
        with (
            allocator.keep_mapped(),
            contextlib.closing(self._steps(options, region, stages, coarse_first, core)) as steps,
        ):
            return (yield from steps)

    def _steps(
        self, options: Options, region: Region, stages: bool, coarse_first: bool, core: int
    ) -> Generator[RegionStep, None, Enhancement]:
        started = time.perf_counter()
        array = self._opened.array
        dtype = check_dtype(np.dtype(array.dtype))
        layout = Layout.resolve(tuple(array.shape), options.axes, options.channel_axis, options.rgb)
        check_region(region, layout)
        self._start_anew_if_changed(options.nodata, region)
        spans = dict(zip(layout.axes, region, strict=True))
        rectangle = (spans["y"].start, spans["y"].stop), (spans["x"].start, spans["x"].stop)
        places = list(planes_in(layout, region))
        total = len(places) * math.prod(stop - start for start, stop in rectangle)
        yield RegionStep(0, total, "loading the model")
        out_dtype = dtype if options.output == "same" else np.dtype(options.output)
        setup = Setup.resolve(
            options, out_dtype, choice=self._opened.choose_model(options.model, layout)
        )
        layout = setup.arrange(layout)
        places = list(planes_in(layout, region))
        total = len(places) * math.prod(stop - start for start, stop in rectangle)
        network, depth = setup.runner.network, setup.spec.depth
        tasks = []
        noise: list[dict[str, Any]] = []
        defects: dict[str, Defects] = {}
        denoised: list[RemovedNoise | None] = []
        for frame, channel in places:
            group = Group.of(frame, channel, options.link_frames)
            shared = yield from self._condition(group, layout, setup, options, total)
            estimate = shared.noise_in_own_units()
            if estimate is not None and estimate.to_dict() not in noise:
                noise.append(estimate.to_dict())
            if shared.denoise_first not in denoised:
                denoised.append(shared.denoise_first)
            if shared.defects is not None:
                stored = self._opened.as_stored(shared.defects)
                defects[stored.sha256] = stored
            plane = self._conditioning.plane(frame, channel, layout, setup, shared)
            neighbourhood = yield from self._survey_neighbourhood(
                frame, channel, layout, setup, options, total
            )
            tasks.append(PlaneTask(setup, shared.conditioning, plane, group, neighbourhood))

        grid = Grid(layout.height, layout.width, network.receptive_field(depth), network.stride)
        if options.tile == "auto":
            tiles = cut_tiles(grid, rectangle, core, uncut=UNCUT * core**2)
        else:
            tiles = cut_tiles(grid, rectangle, options.tile)
        shape = tuple(s.stop - s.start for s in region)
        image = np.zeros((depth + 1, *shape) if stages else shape, out_dtype)
        outputs = list(image) if stages else [image]
        if isinstance(array, np.ma.MaskedArray):  # the result has the mask of the source
            mask = np.broadcast_to(np.ma.getmaskarray(array)[region], image.shape)
            image = np.ma.MaskedArray(image, mask.copy())
        ranges = {task.group: list(task.range) for task in tasks}
        record = {
            **describe_run(
                options,
                setup,
                layout,
                list(ranges.values()),
                noise,
                list(defects.values()),
                self._opened.warnings,
                denoised,
                setup.frame_axis(layout),
            ),
            "region": [[s.start, s.stop] for s in region],
            "device": str(setup.runner.device),
        }

        def enhancement(depth: int) -> Enhancement:
            seconds = round(time.perf_counter() - started, 3)
            return Enhancement(image, {**record, "depth": depth, "seconds": seconds})

        jobs = [(task, task.on_route(tile)) for task in tasks for tile in tiles]
        if any(task.neighbourhood is not None for task in tasks):
            # A tile in all frames before the next tile, so that features are used again.
            jobs = [(task, task.on_route(tile)) for tile in tiles for task in tasks]
        # Depth 0 shows what remains of the noise if the user keeps a part of it.  The depths between
        # are left out, because each takes a tenth of the time of a pass.
        depths = list(range(depth + 1)) if stages else sorted({0, depth})
        if coarse_first and not stages and any(self._known(*job, depths) is None for job in jobs):
            for task, tile in jobs:
                _render(self._pictures_of(task, tile, [0]), task.plane, tile, region, outputs)
                yield RegionStep(0, total, "enhancing")
            yield RegionStep(0, total, "enhancing", enhancement(0))
        done = 0
        for task, tile in jobs:
            done += _render(
                self._pictures_of(task, tile, depths), task.plane, tile, region, outputs
            )
            yield RegionStep(done, total, "enhancing")
        return enhancement(depth)

    def _condition(
        self, group: Group, layout: Layout, setup: Setup, options: Options, total: int
    ) -> Generator[RegionStep, None, GroupConditioning]:
        """Survey a group of planes and return its conditioning."""
        for shared in self._conditioning.condition(group, layout, setup, options.input_range):
            if isinstance(shared, str):
                yield RegionStep(0, total, shared)
        assert not isinstance(shared, str)
        return shared

    def _survey_neighbourhood(
        self, frame: tuple[int, ...], channel: int, layout: Layout, setup: Setup, options: Options,
        total: int,
    ) -> Generator[RegionStep, None, Neighbourhood | None]:  # fmt: skip
        """Survey the neighbours of a frame, if each frame has its own survey, and return the neighbourhood."""
        axis = setup.frame_axis(layout)
        if axis is None:
            return None
        known: dict[Group, GroupConditioning] = {}
        for each in (frame, *axis.around(frame)):
            if each is None:
                continue
            group = Group.of(each, channel, options.link_frames)
            if group in known:
                continue
            shared = yield from self._condition(group, layout, setup, options, total)
            known[group] = shared
        return self._conditioning.neighbourhood(frame, channel, layout, setup, known.__getitem__)

    def _start_anew_if_changed(self, nodata: float | None, region: Region) -> None:
        """Clear the cache if the image's pixels have changed."""
        started = time.perf_counter()
        looks_changed = False
        if started >= self._next_look:
            self._fingerprint = self._opened.fingerprint()
            if self._fingerprint is None:
                looks_changed = self._looks_changed(region)
            took = time.perf_counter() - started
            # Limit the checks of a large image to a twentieth of the total time.
            self._next_look = started + (20 * took if took > QUICK else 0)
        state = self._fingerprint, nodata
        if state != self._state or looks_changed:
            self._state = state
            self._conditioning = ImageConditioning(self._opened.with_nodata(nodata))
            self._pictures.clear()
            self._features.clear()
            self._bytes = 0

    def _looks_changed(self, region: Region) -> bool:
        """Whether a region has other pixels than before, in an image without a fingerprint."""
        pixels = self._opened.array[region]
        if is_dask(pixels):
            (pixels,) = compute_dask(pixels)
        digest = hashlib.sha256(np.ascontiguousarray(np.ma.getdata(pixels)).data).hexdigest()
        place = tuple((part.start, part.stop) for part in region)
        known = self._seen.get(place)
        if known not in (None, digest):
            self._seen.clear()
        self._seen[place] = digest
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return known not in (None, digest)

    def _known(self, task: PlaneTask, tile: Tile, depths: Sequence[int]) -> list[Picture] | None:
        """Cached results of a tile's core at the given depths, or None."""
        core: Rectangle = (tile.core_rows, tile.core_columns)
        for (key, rectangle), pictures in self._pictures.items():
            if key == task.key and pictures.keys() >= {*depths} and is_within(core, rectangle):
                self._pictures.move_to_end((key, rectangle))
                crop = (slice(None), *relative(core, rectangle))
                return [pictures[depth][crop] for depth in depths]
        return None

    def _pictures_of(self, task: PlaneTask, tile: Tile, depths: Sequence[int]) -> list[Picture]:
        """Results of a tile's core at the given depths, cached or computed."""
        known = self._known(task, tile, depths)
        if known is not None:
            return known
        place = task.key, (tile.core_rows, tile.core_columns)
        pictures = self._pictures.get(place, {})
        missing = [depth for depth in depths if depth not in pictures]
        results = run_tile(task, tile, missing, self._features)
        self._bytes += sum(result.nbytes for result in results)
        pictures.update(zip(missing, results, strict=True))
        self._pictures[place] = pictures
        self._pictures.move_to_end(place)
        while len(self._pictures) > 1 and self._bytes > self._keep:
            _, oldest = self._pictures.popitem(last=False)
            self._bytes -= sum(picture.nbytes for picture in oldest.values())
        return [pictures[depth] for depth in depths]


def _render(
    pictures: Sequence[Picture],
    plane: ArrayPlane,
    tile: Tile,
    region: Region,
    outputs: list[NDArray[Any]],
) -> int:
    """Write the results of a tile to the region's outputs; returns the number of its pixels."""
    rows, columns = slice(*tile.core_rows), slice(*tile.core_columns)
    own = plane.read(rows, columns)
    layout = plane.layout
    place = local_index(layout, region, plane.frame, plane.channel, rows, columns)
    inner = [picture[(slice(None), *tile.place)] for picture in pictures]
    for output, picture in zip(outputs, inner[-len(outputs) :], strict=True):
        output[place] = layout.from_planar(plane.render(own, picture, inner[0], tile.place))
    return own.shape[1] * own.shape[2]
