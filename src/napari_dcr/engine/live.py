"""Enhance a stream of frames while it arrives: `LiveEnhancer`."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import weakref
from collections.abc import Generator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_dcr.engine import allocator
from napari_dcr.engine.conditioning import ImageConditioning, last_of
from napari_dcr.engine.devices import fast_precision, find_device
from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.groups import Group
from napari_dcr.engine.parts import Part
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.engine.result import describe_run
from napari_dcr.engine.running_estimate import RunningEstimate, Schedule
from napari_dcr.engine.setup import Setup
from napari_dcr.engine.sources import MarkedSource, Opened, Sample
from napari_dcr.engine.tiles import Grid, Tile
from napari_dcr.image.axes import STEPPED_NAMES, Layout
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import check_dtype
from napari_dcr.input_warnings import InputWarnings
from napari_dcr.network.global_net import Route
from napari_dcr.options import Options

LEVEL_STEP = 8
"""Step in pixels of the sample from which the level of a frame is computed."""


ADJUSTABLE = (
    "depth", "detail", "strength", "exposure", "denoise", "denoise_colour", "saturation",
)  # fmt: skip
"""Options that do not change the estimate."""


class LiveEnhancer:
    """Enhances the frames of a camera one by one, as they arrive.

    Black point, noise, tone and sensor defects come from a running estimate.  It is updated every
    few frames and applied gradually, so that brightness neither flickers nor jumps, for example
    when a lamp is switched on.  The results depend on the frames and their order, not on their
    timing.  A frame with another shape or dtype starts a new estimate.

    Parameters
    ----------
    options : Options, optional
        Options of the enhancement.  ``link_frames`` and ``neighbours`` are ignored.  Options that
        request further results, such as ``return_report``, are not allowed.  With
        ``precision="auto"``, frames of every dtype are computed in the lower precision that the
        device supports in hardware.
    **changes
        Single options, which replace those of ``options``.

    Raises
    ------
    TypeError, ValueError
        If the value of an option is not allowed.

    Examples
    --------
    >>> import numpy as np
    >>> frames = np.random.default_rng(0).poisson(20, (3, 64, 64)).astype(np.uint16)
    >>> with LiveEnhancer(depth=1, device="cpu") as live:
    ...     results = [live(frame) for frame in frames]
    >>> results[2].shape, results[2].dtype
    ((64, 64), dtype('uint16'))
    """

    def __init__(self, options: Options | None = None, **changes: Any) -> None:
        if options is not None and not isinstance(options, Options):
            raise TypeError(f"options: got {type(options).__name__}; allowed are Options or None")
        self._stream: _Stream | None = None
        self._lock = threading.Lock()
        self._options = _checked(dataclasses.replace(options or Options(), **changes))
        self._memory = contextlib.ExitStack()
        self._end = weakref.finalize(self, self._memory.close)

    def __call__(self, frame: Any) -> NDArray[Any]:
        """Enhance a frame.

        Parameters
        ----------
        frame : array
            Grey ``(y, x)``, colour ``(y, x, 3)`` or ``(y, x, 4)``, or channels as defined by the
            options ``axes`` or ``channel_axis``.  It is not modified, and may be reused afterwards.

        Returns
        -------
        ndarray
            Result with the shape of the frame.
        """
        pixels = np.asanyarray(frame)
        check_dtype(pixels.dtype, "frame")
        with self._lock:
            if self._stream is None or not self._stream.fits(pixels):
                if not self._end.alive:
                    raise ValueError("frame: this LiveEnhancer is closed; create another one")
                stream = _Stream(pixels, self._options)
                if self._stream is None and stream.setup.runner.device.type == "cpu":
                    # The feature maps of a frame reuse the memory of those of the previous frame.
                    self._memory.enter_context(allocator.keep_mapped())
                self._stream = stream
            return self._stream.enhance(pixels)

    @property
    def options(self) -> Options:
        """Options of the next frames; the estimate is kept if only `ADJUSTABLE` ones change."""
        return self._options

    @options.setter
    def options(self, options: Options) -> None:
        options = _checked(options)
        if options == self._options:
            return
        with self._lock:
            kept = {name: getattr(options, name) for name in ADJUSTABLE}
            if self._stream is not None:
                if dataclasses.replace(self._options, **kept) == options:
                    self._stream.adjust(options)
                else:
                    self._stream = None
            self._options = options

    def restart(self) -> None:
        """Discard the estimate, so that the next frame starts a new one."""
        with self._lock:
            self._stream = None

    def close(self) -> None:
        """Return the memory that is kept between frames to the system."""
        self.restart()
        self._end()

    def __enter__(self) -> LiveEnhancer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def record(self) -> dict[str, Any]:
        """Options, model and current estimates as plain values; empty before the first frame."""
        stream = self._stream
        return {} if stream is None else stream.record


def _checked(options: Options) -> Options:
    for name in ("return_report", "return_residual", "return_uncertainty", "return_defects"):
        if getattr(options, name):
            raise ValueError(f"{name}: got True; allowed is False for live frames")
    return dataclasses.replace(options, link_frames=True)


class _Stream:
    """Frames of one shape and dtype, with the running estimate of each channel.

    Parameters
    ----------
    first : ndarray
        The first frame; only its shape and dtype are used.
    options : Options
    """

    def __init__(self, first: NDArray[Any], options: Options) -> None:
        self._shape, self._dtype = first.shape, check_dtype(first.dtype)
        layout = Layout.resolve(first.shape, options.axes, options.channel_axis, options.rgb)
        if layout.frame_shape:
            raise ValueError(
                f"frame: got shape {first.shape} with the axes {layout.axes}; allowed are y and x,"
                " and colours (s) or channels (c)"
            )
        self._choice = Opened(first, None, lambda: None).choose_model(options.model, layout)
        self._out_dtype = self._dtype if options.output == "same" else np.dtype(options.output)
        self.adjust(options)
        self._layout = self.setup.arrange(layout)
        letter = next(a for a in STEPPED_NAMES[::-1] if a not in layout.axes)
        self._axes = letter + self._layout.axes
        self._sampled = tuple(
            slice(None, None, LEVEL_STEP) if a in "yx" else slice(None) for a in layout.axes
        )
        self._warnings = InputWarnings()
        self._schedule = Schedule()
        self._channels = [RunningEstimate() for _ in range(self._layout.channels)]
        self._survey: Generator[str, None, list[GroupConditioning]] | None = None
        self._is_first = True

    def adjust(self, options: Options) -> None:
        """Use other options, of which only `ADJUSTABLE` ones differ."""
        self._options = options
        if options.precision == "auto":
            fast = fast_precision(find_device(options.device))
            options = dataclasses.replace(options, precision=fast)
        # The frames after a live frame do not exist yet.
        options = dataclasses.replace(options, neighbours=0, neighbour_axis=None)
        self.setup = Setup.resolve(options, self._out_dtype, choice=self._choice)
        self._cores: tuple[Grid, list[Tile]] | None = None

    @property
    def record(self) -> dict[str, Any]:
        """Record of the current estimates."""
        shared = [estimate.current for estimate in self._channels]
        size = self._layout.height, self._layout.width
        noise = [each.noise_in_own_units() for each in shared]
        return {
            **describe_run(
                self._options, self.setup, self._layout,
                [[each.scale.black, each.scale.white] for each in shared],
                [each.to_dict() for each in noise if each is not None],
                [each.defects or Defects(*size) for each in shared], self._warnings,
                [each.denoise_first for each in shared],
            ),
            "device": str(self.setup.runner.device),
        }  # fmt: skip

    def fits(self, frame: NDArray[Any]) -> bool:
        """Whether a frame belongs to this stream."""
        return frame.shape == self._shape and frame.dtype.newbyteorder("=") == self._dtype

    def enhance(self, frame: NDArray[Any]) -> NDArray[Any]:
        """Enhance the next frame."""
        self._estimate(frame)
        out = np.empty(self._shape, self._out_dtype)
        source = MarkedSource(frame, self._layout, self._options.nodata)
        by_route: dict[Any, list[tuple[int, GroupConditioning]]] = {}
        for channel, estimate in enumerate(self._channels):
            shared = estimate.current
            by_route.setdefault(shared.route, []).append((channel, shared))
        for route, members in by_route.items():
            grid, cores = self._cut(route)
            planes = [(self._plane(source, out, *member), member[1]) for member in members]
            parts = (
                Part(plane, shared.conditioning, core) for plane, shared in planes for core in cores
            )
            single = len(planes) * len(cores) == 1
            for _ in self.setup.runner.run(grid, parts, threads=not single):
                pass
        if isinstance(frame, np.ma.MaskedArray):
            return np.ma.MaskedArray(out, np.ma.getmaskarray(frame).copy())
        return out

    def _cut(self, route: Route) -> tuple[Grid, list[Tile]]:
        """Tile grid for a route, and its cores; kept until the next survey or another route.

        Asking for the free memory takes several milliseconds.
        """
        if self._cores is None or self._cores[0].route != route:
            runner = self.setup.runner
            grid = runner.grid(self._layout.height, self._layout.width, route)
            self._cores = grid, list(grid.cut(runner.part_size(grid)))
        return self._cores

    def _plane(
        self, source: MarkedSource, out: NDArray[Any], channel: int, shared: GroupConditioning
    ) -> ArrayPlane:
        return ArrayPlane(
            source, out, self._layout, (), channel, self.setup.model.network.config.channels,
            shared.scale, shared.rendering(self.setup.rendering, 0), None, shared.defects_of(0),
            shared.padding_of(0), shared.conditioning.scene,
        )  # fmt: skip

    def _estimate(self, frame: NDArray[Any]) -> None:
        """Update the running estimates with a frame."""
        black = -np.inf if self._is_first else self._channels[0].current.scale.black
        due = self._schedule.add(frame, frame[self._sampled], black)
        if due and self._survey is None:
            self._survey = self._surveyed(self._schedule.take(frame))
            self._cores = None  # memory may have become scarce
        if self._survey is not None:
            try:
                # Each frame does one block of the survey. Only the first frame waits for all blocks.
                next(self._survey)
                while self._is_first:
                    next(self._survey)
            except StopIteration as end:
                self._survey, self._is_first = None, False
                schedule = self._schedule
                for estimate, found in zip(self._channels, end.value, strict=True):
                    estimate.learn(found, schedule.share, schedule.finds_defects)
        for estimate in self._channels:
            estimate.advance()

    def _surveyed(
        self, frames: list[NDArray[Any]]
    ) -> Generator[str, None, list[GroupConditioning]]:
        """Survey the given frames as a sample of the stream; yields after each block."""
        masked = any(isinstance(frame, np.ma.MaskedArray) for frame in frames)
        stack = (np.ma.stack if masked else np.stack)([*frames, frames[-1]])
        opened = Opened(
            stack, self._axes, lambda: None, nodata=self._options.nodata, warnings=self._warnings,
            sample=Sample(tuple(range(len(frames))), ""),
        )  # fmt: skip
        layout = Layout(stack.shape, self._axes, self._layout.samples)
        conditioning = ImageConditioning(opened)
        quiet, conditionings = not self._is_first, []
        for channel in range(layout.channels):
            steps = conditioning.condition(
                Group(channel, None), layout, self.setup, self._options.input_range, quiet
            )
            conditionings.append((yield from last_of(steps)))
        return conditionings
