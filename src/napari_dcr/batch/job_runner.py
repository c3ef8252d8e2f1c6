"""Enhancement of one job of a batch: its files are opened, enhanced and written."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_dcr.engine.sources import Opened
from napari_dcr.enhancement import Enhancement, Options, Progress, enhance_steps
from napari_dcr.io import formats, opening, writing
from napari_dcr.io.files import Picture
from napari_dcr.io.jobs import Job
from napari_dcr.io.outputs import folder_of, place_beside
from napari_dcr.io.recordings import pieces


@dataclass(frozen=True)
class JobRunner:
    """Enhances the jobs of a batch, each from its files to its results.

    Attributes
    ----------
    options : Options
    base : Path
        File or folder that the results are written to.
    beside : dict of str to Path
        Files or folders that the residual and the uncertainty are written to.
    resume : bool
        Whether to resume interrupted results in a zarr.
    overwrite : bool
        Whether to replace earlier results.
    scene : int or str, optional
        Image to use from files that hold several.
    as_one : str
        Axis along which the files of a recording are joined.
    quality : int, optional
        Quality of results in .jpg, .heic, .avif, .mp4 or .mov, from 0 to 100.
    keep_unfinished : bool
        Whether to keep an incomplete zarr, so that it can be resumed.
    """

    options: Options
    base: Path
    beside: dict[str, Path]
    resume: bool
    overwrite: bool
    scene: int | str | None
    as_one: str
    quality: int | None
    keep_unfinished: bool

    def steps(self, job: Job) -> Generator[Progress, None, Enhancement]:
        """Enhance a job; yields its progress and returns the result, which has been written."""
        if job.problem:
            raise ValueError(f"{job.source}: {job.problem}")
        with ExitStack() as folders:
            for target in job.results:
                folders.enter_context(folder_of(target))
            streamed = self._streamed_for(job)
            if not streamed:
                return (yield from self._enhance_in_memory(job))
            for name in self.beside:
                raise ValueError(
                    f"--{name}: got {streamed}, which is processed tile by tile; allowed are"
                    " images that fit into memory, written to an image file"
                )
            out = list(job.targets) or job.target
            opened, options = self._open(job, out)
            steps = enhance_steps(
                opened,
                options,
                out,
                self.resume,
                quality=self.quality,
                numbered=job.is_sequence,
                overwrite=self.overwrite,
            )
            folders.enter_context(self._removed_if_unfinished(job))
            return (yield from steps)

    @contextmanager
    def _removed_if_unfinished(self, job: Job) -> Iterator[None]:
        """Context manager that removes an incomplete zarr, unless it is to be kept."""
        # An earlier result stays until the new one is complete, and then it is not incomplete.
        begun = [target for target in job.results if self.resume or not target.exists()]
        try:
            yield
        except BaseException:  # cancelled, too
            for target in () if self.keep_unfinished else begun:
                if formats.is_in_zarr(target):
                    shutil.rmtree(target, ignore_errors=True)
            raise

    def _streamed_for(self, job: Job) -> str:
        """File because of which an image is processed tile by tile; empty if it is not."""
        sources = job.sources or (job.source,)
        for what, paths in (("input", sources), ("output", job.results)):
            for path in paths:
                if formats.is_in_zarr(path) or formats.is_streamed(path):
                    return f"the {what} {path.name}"
        if job.is_sequence:
            return f"the output {job.target.name}"
        for path in sources:
            if opening.is_large(path, len(sources), self.scene):
                return f"the large input {path.name}"
        return ""

    def _open(self, job: Job, out: Any) -> tuple[Opened, Options]:
        """Open an image, or several files as a recording, with the given axes."""
        if not job.sources:
            return opening.open_image(job.source, out, self.scene), self.options
        axes = self.options.axes
        opened = opening.open_image(job.sources, out, self.scene, self.as_one, axes)
        return opened, replace(self.options, axes=None)

    def _enhance_in_memory(self, job: Job) -> Generator[Progress, None, Enhancement]:
        options = self.options
        if job.sources:
            opened, options = self._open(job, list(job.targets) or job.target)
            joined = opened.array
            opened = replace(opened, array=np.asanyarray(joined[(slice(None),) * joined.ndim]))
        else:
            opened = opening.open_whole(job.source, self.scene)
            output = formats.fitting_output(job.target, opened, options.output)
            options = replace(options, output=output)
        layout = opening.layout_of(opened, options.axes)
        dtype = opened.array.dtype if options.output == "same" else np.dtype(options.output)
        whole: tuple[slice | int, ...] = ()
        written = [(job.target, whole, layout, opened.with_nodata(options.nodata))]
        if job.targets:
            written = [
                (target, index, inner, member.with_nodata(options.nodata))
                for target, (index, inner), member in zip(
                    job.targets, pieces(joined, layout), joined.members, strict=True
                )
            ]
        for target, _, inner, _ in written:
            formats.check_can_hold(target, dtype, inner)
        kept = [writing.metadata_of(target, source, dtype) for target, _, _, source in written]
        done = yield from enhance_steps(opened, options)
        if "noise" in done.record:  # of models that keep intensities
            for message in formats.only_for_viewing([target for target, *_ in written]):
                opened.warnings.add(message)
            done.record["warnings"] = list(opened.warnings)
        for (target, index, inner, source), metadata in zip(written, kept, strict=True):
            picture = Picture(done.image[index], inner.axes, metadata, inner.samples)
            writing.write(target, picture, self.quality)
            for name, path in self.beside.items():
                place = place_beside(target, path, self.base)
                with folder_of(place):
                    beside = Picture(
                        getattr(done, name)[index], inner.axes, source.metadata, inner.samples
                    )
                    writing.write(place, beside)
        return done
