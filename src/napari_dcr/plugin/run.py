"""Runs in a worker thread, with progress, cancelling and errors."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils import cancelable_progress
from psygnal import Signal

from napari_dcr.engine.progress_bar import duration
from napari_dcr.io import ome_metadata as ome
from napari_dcr.options import Options
from napari_dcr.plugin.axes import describe_place, layer_axes
from napari_dcr.plugin.background import Background, Failure
from napari_dcr.plugin.origin import open_layer
from napari_dcr.plugin.pixels import is_lazy, layer_levels, layer_pixels, to_enhance
from napari_dcr.plugin.saving import placed, unused_path

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dcr.engine.regions import Region
    from napari_dcr.enhancement import Enhancement

LOG = logging.getLogger(__name__)

TICKS = 1000
"""Number of steps of the progress bar."""

DLL_ADVICE = (
    "PyTorch could not be loaded ({error}). On Windows, start napari with"
    ' python -c "import torch, napari; napari.Viewer(); napari.run()"'
)
"""Windows loads torch's libraries reliably only before Qt's (pytorch#166628)."""


@dataclass(frozen=True, eq=False)
class Job:
    """One layer to enhance.

    Attributes
    ----------
    layer : Image
    options : Options
    region : tuple of slice, optional
        Region of the layer's array; the whole array if None.
    stages : bool
        Whether to return the outputs of all stages instead of the last one.
    folder : Path, optional
        Folder to write the result of a whole layer to; in memory if None.
    guessed_axes : bool
        Whether the stepped axes were guessed.
    data : object
        Value of ``layer.data`` when the job was made, because it may be replaced during a run.
    ndim : int
        Number of axes of the layer at that time.
    """

    layer: Image
    options: Options
    region: Region | None = None
    stages: bool = False
    folder: Path | None = None
    guessed_axes: bool = False
    data: Any = field(init=False)
    ndim: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", self.layer.data)
        object.__setattr__(self, "ndim", self.layer.ndim)

    @property
    def is_current(self) -> bool:
        """Whether the layer still holds the array that is enhanced."""
        return self.layer.data is self.data


@dataclass(frozen=True)
class Step:
    """Progress of a job; ``done`` and ``total`` are in pixels."""

    job: int
    done: int
    total: int
    message: str


@dataclass(frozen=True)
class Product:
    """Result of a finished job."""

    job: Job
    enhancement: Enhancement


@dataclass(frozen=True)
class Failed:
    """Error of a failed job; the jobs after it still run."""

    job: Job
    error: Exception


def work(jobs: Sequence[Job]) -> Generator[Step | Product | Failed, None, Failure | None]:
    """Run jobs one after the other, in the worker thread."""
    try:
        from napari_dcr.engine import devices

        try:
            for number, job in enumerate(jobs):
                try:
                    enhancement = yield from _do(number, job)
                except Exception as error:
                    LOG.debug("enhancing %r failed", job.layer.name, exc_info=error)
                    yield Failed(job, error.with_traceback(None))
                    continue
                yield Product(job, enhancement)
                del enhancement
        finally:
            # Otherwise the allocator's caches would stay allocated until the process ends.
            with contextlib.suppress(ValueError):
                devices.release_memory(devices.find_device(jobs[0].options.device))
    except Exception as error:
        return Failure(error)
    return None


def _do(number: int, job: Job) -> Generator[Step, None, Enhancement]:
    from napari_dcr.engine.region_run import RegionEnhancer
    from napari_dcr.enhancement import enhance_pyramid_steps, enhance_steps

    layer, options = job.layer, job.options
    pixels = layer_pixels(layer, job.data)
    if job.region is not None or job.stages:
        region = job.region or tuple(slice(0, n) for n in pixels.shape)
        enhancer = RegionEnhancer(open_layer(layer, pixels), keep=0)
        steps = enhancer.steps(options, region, stages=job.stages)
        return (yield from _tell(number, steps))
    if job.folder is not None:
        return (yield from _save(number, job, job.folder))
    if not (layer.multiscale and is_lazy(pixels)):
        return (
            yield from _tell(number, enhance_steps(open_layer(layer, to_enhance(pixels)), options))
        )
    # napari reads a coarse level when zoomed out; deriving it would need the whole finest level.
    levels = [open_layer(layer, to_enhance(level)) for level in layer_levels(layer, job.data)]
    return (yield from _tell(number, enhance_pyramid_steps(levels, options)))


def _save(number: int, job: Job, folder: Path) -> Generator[Step, None, Enhancement]:
    """Write the result to an OME-Zarr image; returns its levels as lazy arrays."""
    import dask.array

    from napari_dcr.enhancement import enhance_steps
    from napari_dcr.io.formats import local_path

    layer, pixels = job.layer, layer_pixels(job.layer, job.data)
    folder = local_path(folder, "folder")
    folder.mkdir(parents=True, exist_ok=True)
    path = unused_path(folder, f"{layer.name} DCR")
    opened = placed(open_layer(layer, pixels), layer, job.options.axes or layer_axes(layer))
    try:
        saved = yield from _tell(number, enhance_steps(opened, job.options, path))
    except BaseException:  # also after a cancellation
        shutil.rmtree(path, ignore_errors=True)
        raise
    multiscale = ome.find_multiscale(dict(saved.image.attrs))
    assert multiscale is not None
    levels = [dask.array.from_zarr(saved.image[name]) for name in ome.level_paths(multiscale)]
    record = {**saved.record, "path": str(path)}
    return replace(saved, image=levels if len(levels) > 1 else levels[0], record=record)


def _tell(number: int, steps: Generator[Any, None, Enhancement]) -> Generator[Step, None, Any]:
    """Convert the steps of a job to those of a run."""
    with contextlib.closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            yield Step(number, step.done, step.total, step.message)


def explain(error: BaseException) -> str:
    """Describe an error in one line, with advice on what to do."""
    if isinstance(error, MemoryError):
        return f"{error}. Choose the region 'view', or smaller tiles under Advanced."
    if isinstance(error, (ValueError, TypeError)):
        return str(error)
    if isinstance(error, OSError) and "torch" in str(error):
        return DLL_ADVICE.format(error=error)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        full = "; choose another folder under Advanced" * (error.errno == errno.ENOSPC)
        return f"{error.strerror}{where}{full}."
    if isinstance(error, OSError):
        return str(error)
    return f"{type(error).__name__}: {error}. The log has the details; please report it."


class _Activity(cancelable_progress):  # type: ignore[misc]
    """Progress bar in napari's activity dock, with a cancel button."""

    def __init__(self, cancelled: Callable[[], None]) -> None:
        self._cancelled = cancelled
        super().__init__(total=TICKS, desc="Low light DCR", leave=False)

    def cancel(self) -> None:
        """Request that the run stops."""
        super().cancel()
        self._cancelled()


class Run:
    """Run of one or several jobs outside the GUI thread.

    Attributes
    ----------
    progressed : Signal(float, str)
        Finished share between 0 and 1, and a description of the current step.
    produced : Signal(Product)
        Emitted with the result of each job.
    ended : Signal(str)
        Emitted last, with ``"done"``, ``"cancelled"`` or ``"failed"``.
    failed : Signal(str, str)
        Emitted with the name of a layer, and a description of its error with advice.
    """

    progressed = Signal(float, str)
    produced = Signal(Product)
    failed = Signal(str, str)
    ended = Signal(str)

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)
        self._first: tuple[float, float] | None = None  # time and share of the first pixels
        self._background = Background(work(self.jobs), self._on_step, self._on_end)
        self._failures = 0
        self._updating = False
        # napari's activity dock may only be changed in the GUI thread.
        self._activity = _Activity(self.cancel)

    def start(self) -> None:
        """Begin."""
        self._background.start()

    def cancel(self) -> None:
        """Request a stop after the current tile."""
        self._background.cancel()

    def abandon(self) -> None:
        """Stop without emitting signals, because the window has been closed."""
        self._background.abandon()
        with contextlib.suppress(RuntimeError):
            self._activity.close()

    @property
    def cancelling(self) -> bool:
        """Whether a stop has been requested."""
        return self._background.cancelled

    @property
    def is_alive(self) -> bool:
        """Whether the worker thread is still running."""
        return self._background.is_alive

    def _on_step(self, event: Step | Product | Failed) -> None:
        if isinstance(event, Product) and event.job.layer.ndim != event.job.ndim:
            # The result has no place in the viewer, because that is defined for each axis.
            replaced = ValueError(
                f"image: during the run, the {event.job.ndim} axes of the layer were replaced by"
                f" {event.job.layer.ndim}; press Run again"
            )
            event = Failed(event.job, replaced)
        if isinstance(event, Product):
            self.produced.emit(event)
            return
        if isinstance(event, Failed):
            self._failures += 1
            self.failed.emit(event.job.layer.name, explain(event.error))
            return
        # Every layer counts equally, because the sizes of the following ones are not known yet.
        share = (event.job + event.done / event.total) / len(self.jobs)
        self.progressed.emit(share, self._describe(event, share))
        # napari's bar processes events, which may include further steps.  These must not update the
        # bar again, or many waiting steps would exceed the recursion limit.
        if self._updating:
            return
        self._updating = True
        try:
            self._activity.update(round(TICKS * share) - self._activity.n)
        finally:
            self._updating = False

    def _on_end(self, result: Failure | None) -> None:
        self._activity.close()
        if self.cancelling:
            self.ended.emit("cancelled")
        elif isinstance(result, Failure):
            LOG.debug("a run failed", exc_info=result.error)
            self.failed.emit(self.jobs[0].layer.name, explain(result.error))
            self.ended.emit("failed")
        else:
            self.ended.emit("failed" if self._failures == len(self.jobs) else "done")

    def _describe(self, step: Step, share: float) -> str:
        place = describe_place(step.message, guessed=self.jobs[step.job].guessed_axes)
        parts = [place[:1].upper() + place[1:]]
        if len(self.jobs) > 1:
            parts.insert(0, f"{self.jobs[step.job].layer.name} ({step.job + 1}/{len(self.jobs)})")
        if step.done:
            now = time.perf_counter()
            self._first = self._first or (now, share)
            since, before = self._first
            if share > before:  # the survey, before the first pixels, happens only once
                seconds = (now - since) / (share - before) * (1 - share)
                parts += [f"{duration(seconds)} left"] * (seconds >= 1)
        return ", ".join(parts)
