"""Runs in a thread: their jobs, progress, cancelling, errors."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils import cancelable_progress
from psygnal import Signal

from napari_dcr.engine.progress_bar import duration
from napari_dcr.io import ome_metadata as ome
from napari_dcr.options import Options
from napari_dcr.plugin.axes import layer_axes
from napari_dcr.plugin.background import Background, Failure
from napari_dcr.plugin.pixels import is_lazy, layer_levels, layer_pixels, to_enhance
from napari_dcr.plugin.saving import placed, unused_path

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_dcr.engine.regions import Region
    from napari_dcr.enhancement import Enhancement

LOG = logging.getLogger(__name__)

TICKS = 1000
"""Of a progress bar."""

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
        Part of its array; all if None.
    stages : bool
        All outputs of the cascade, rather than the last.
    folder : Path, optional
        Where to write the result of a whole layer; in memory if None.
    """

    layer: Image
    options: Options
    region: Region | None = None
    stages: bool = False
    folder: Path | None = None


@dataclass(frozen=True)
class Step:
    """How far a job is; ``done`` and ``total`` in pixels."""

    job: int
    done: int
    total: int
    message: str


@dataclass(frozen=True)
class Product:
    """A finished job."""

    job: Job
    enhancement: Enhancement


@dataclass(frozen=True)
class Failed:
    """A job that ended with an error; those after it go on."""

    job: Job
    error: Exception


def work(jobs: Sequence[Job]) -> Generator[Step | Product | Failed, None, Failure | None]:
    """Do jobs one after the other, in the worker's thread."""
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
            # Caches of the allocator would stay taken until the process ends.
            with contextlib.suppress(ValueError):
                devices.release_memory(devices.find_device(jobs[0].options.device))
    except Exception as error:
        return Failure(error)
    return None


def _do(number: int, job: Job) -> Generator[Step, None, Enhancement]:
    from napari_dcr.engine.region_run import RegionEnhancer
    from napari_dcr.enhancement import enhance_pyramid_steps, enhance_steps
    from napari_dcr.io.formats import open_image

    layer, options = job.layer, job.options
    pixels = layer_pixels(layer)
    if job.region is not None or job.stages:
        region = job.region or tuple(slice(0, n) for n in pixels.shape)
        steps = RegionEnhancer(open_image(pixels), keep=0).steps(options, region, stages=job.stages)
        return (yield from _tell(number, steps))
    if job.folder is not None:
        return (yield from _save(number, job, job.folder))
    if not (layer.multiscale and is_lazy(pixels)):
        return (yield from _tell(number, enhance_steps(to_enhance(pixels), options)))
    # Zoomed out, napari reads a coarse level; to make one from the finest would take all of it.
    levels = [to_enhance(level) for level in layer_levels(layer)]
    return (yield from _tell(number, enhance_pyramid_steps(levels, options)))


def _save(number: int, job: Job, folder: Path) -> Generator[Step, None, Enhancement]:
    """Write the result to an OME-Zarr image; its levels, to be read when they are looked at."""
    import dask.array

    from napari_dcr.enhancement import enhance_steps
    from napari_dcr.io.formats import open_image

    layer, pixels = job.layer, layer_pixels(job.layer)
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path = unused_path(folder, f"{layer.name} DCR")
    opened = placed(open_image(pixels), layer, job.options.axes or layer_axes(layer))
    try:
        saved = yield from _tell(number, enhance_steps(opened, job.options, path))
    except BaseException:  # cancelled, too
        shutil.rmtree(path, ignore_errors=True)
        raise
    multiscale = ome.find_multiscale(dict(saved.image.attrs))
    assert multiscale is not None
    levels = [dask.array.from_zarr(saved.image[name]) for name in ome.level_paths(multiscale)]
    record = {**saved.record, "path": str(path)}
    return replace(saved, image=levels if len(levels) > 1 else levels[0], record=record)


def _tell(number: int, steps: Generator[Any, None, Enhancement]) -> Generator[Step, None, Any]:
    """The steps of a job, as those of a run."""
    with contextlib.closing(steps):
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                return finished.value
            yield Step(number, step.done, step.total, step.message)


def explain(error: BaseException) -> str:
    """An error in one readable line, with what to do."""
    if isinstance(error, MemoryError):
        return f"{error}. Choose the extent 'view' or a smaller window under Advanced."
    if isinstance(error, (ValueError, TypeError)):
        return str(error)
    if isinstance(error, OSError) and "torch" in str(error):
        return DLL_ADVICE.format(error=error)
    if isinstance(error, OSError):
        return str(error)
    return f"{type(error).__name__}: {error}. The log has the details; please report it."


class _Activity(cancelable_progress):  # type: ignore[misc]
    """A bar in napari's activity dock that can be cancelled there."""

    def __init__(self, cancelled: Callable[[], None]) -> None:
        self._cancelled = cancelled
        super().__init__(total=TICKS, desc="Low light DCR", leave=False)

    def cancel(self) -> None:
        """Ask the run to stop."""
        super().cancel()
        self._cancelled()


class Run:
    """A run of one or several jobs off the GUI thread.

    Attributes
    ----------
    progressed : Signal(float, str)
        Share done, and what is going on.
    produced : Signal(Product)
        A job has its result.
    ended : Signal(str)
        ``"done"``, ``"cancelled"`` or ``"failed"``; nothing comes after it.
    failed : Signal(str, str)
        A layer's name, what went wrong with it, and what to do.
    """

    progressed = Signal(float, str)
    produced = Signal(Product)
    failed = Signal(str, str)
    ended = Signal(str)

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = list(jobs)
        self._started = time.perf_counter()
        self._background = Background(work(self.jobs), self._on_step, self._on_end)
        self._failures = 0
        # For napari's activity dock; only made and changed in the GUI thread.
        self._activity = _Activity(self.cancel)

    def start(self) -> None:
        """Begin."""
        self._background.start()

    def cancel(self) -> None:
        """Ask it to stop; it does after the current tile."""
        self._background.cancel()

    def abandon(self) -> None:
        """Stop, and tell nobody: the window is gone."""
        self._background.abandon()
        with contextlib.suppress(RuntimeError):
            self._activity.close()

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop."""
        return self._background.cancelled

    @property
    def is_alive(self) -> bool:
        """Whether its thread is still working."""
        return self._background.is_alive

    def _on_step(self, event: Step | Product | Failed) -> None:
        if isinstance(event, Product):
            self.produced.emit(event)
            return
        if isinstance(event, Failed):
            self._failures += 1
            self.failed.emit(event.job.layer.name, explain(event.error))
            return
        # Every layer is an equal share: how large those to come are is not known yet.
        share = (event.job + event.done / event.total) / len(self.jobs)
        self.progressed.emit(share, self._describe(event, share))
        # Last: napari's bar lets events in, among them the steps after this one.
        self._activity.update(round(TICKS * share) - self._activity.n)

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
        parts = [step.message]
        if len(self.jobs) > 1:
            parts.insert(0, f"{self.jobs[step.job].layer.name} ({step.job + 1}/{len(self.jobs)})")
        if step.done:
            seconds = (time.perf_counter() - self._started) * (1 / share - 1)
            if seconds >= 1:
                parts.append(f"{duration(seconds)} left")
        return ", ".join(parts)
