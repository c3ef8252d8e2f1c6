"""List of image files to enhance: checks before the first one, events, and the report."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from napari_dcr.batch.job_runner import JobRunner
from napari_dcr.engine.devices import find_device
from napari_dcr.engine.file_errors import in_plain_words
from napari_dcr.engine.model_choice import AUTO, PHOTO, is_picture
from napari_dcr.engine.progress_bar import duration
from napari_dcr.engine.result import plain
from napari_dcr.engine.setup import depth_of
from napari_dcr.enhancement import Enhancement, Options, Progress
from napari_dcr.io import dng_sink, formats, raw
from napari_dcr.io.files import replaced_when_complete
from napari_dcr.io.jobs import Job, find_jobs
from napari_dcr.io.outputs import (
    SHELL,
    Output,
    Wording,
    check_outputs,
    check_replaceable_plate,
    folder_of,
    output_file,
    place_beside,
)
from napari_dcr.io.plates import copy_around
from napari_dcr.network import weights

LOG = logging.getLogger(__name__)

EXPLAINED = ValueError, TypeError, OSError, MemoryError
"""Exceptions whose messages say what is wrong with an image; others come from faults of programs."""


@dataclass(frozen=True)
class Started:
    """Event: the batch starts to enhance an image."""

    job: Job


@dataclass(frozen=True)
class Stepped:
    """Event: progress of an image."""

    job: Job
    progress: Progress


@dataclass(frozen=True)
class Finished:
    """Event: an image has been enhanced."""

    job: Job
    enhancement: Enhancement


@dataclass(frozen=True)
class Failed:
    """Event: an image could not be enhanced; the images after it still are."""

    job: Job
    error: Exception


Event = Started | Stepped | Finished | Failed


class Batch:
    """Image files to enhance, and the paths of their results.

    Parameters
    ----------
    inputs : sequence of str
        Paths of files, folders and zarr images.
    output : str
        Path of a file for one image, or of a folder.
    options : Options
    residual, uncertainty : str, optional
        Path of a ``.tif`` for one image, or of a folder, to write these results to.
    report : str, optional
        Path of a ``.json`` file for the records of all images.
    overwrite : bool
        Whether existing files may be replaced.
    resume : bool
        Whether to resume interrupted results in a zarr.
    scene : int or str, optional
        Image to use from files that hold several.
    denoise_only : bool
        Denoise camera raw files and write them as linear DNG, without brightening them.
    as_one : str, optional
        Axis along which all images are joined to one recording; None enhances each separately.
    wording : Wording
        Names of the arguments in messages.
    keep_unfinished : bool
        Whether to keep an incomplete zarr, so that it can be resumed.
    quality : int, optional
        Quality of results in .jpg, .heic, .avif, .mp4 or .mov, from 0 to 100.

    Attributes
    ----------
    jobs : list of Job
        All images that will be enhanced.
    left_out : list of LeftOut
        Files that were found but will not be enhanced.
    output : Path
        File or folder that the results are written to.
    entries : list of dict
        Record or error of each processed image, as plain values.
    outcomes : list of str
        Outcome of each processed image in one line, as text; warnings follow on further lines.
    failed : int
        Number of images that failed.

    Raises
    ------
    ValueError
        If an argument is not allowed, or an output would overwrite a file; raised before any image
        is read.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        output: str,
        options: Options,
        *,
        residual: str | None = None,
        uncertainty: str | None = None,
        report: str | None = None,
        overwrite: bool = False,
        resume: bool = False,
        scene: int | str | None = None,
        as_one: str | None = None,
        wording: Wording = SHELL,
        keep_unfinished: bool = True,
        denoise_only: bool = False,
        quality: int | None = None,
    ) -> None:
        given = {"residual": residual, "uncertainty": uncertainty}
        beside = {name: path for name, path in given.items() if path is not None}
        folders = [formats.local_path(path, f"--{name}") for name, path in beside.items()]
        becomes = formats.DNG.suffixes[0] if denoise_only else None
        self.jobs, self.left_out = find_jobs(
            inputs, output, folders, as_one is not None, wording, becomes
        )
        if denoise_only:
            _check_raw([job for job in self.jobs if not job.problem], scene, as_one, options.output)
            scene = raw.PLANES
        self.entries: list[dict[str, Any]] = []
        self.outcomes: list[str] = []
        self.failed = 0
        self._report = None if report is None else output_file(report, "--report", (".json",))
        self._wording = wording
        self.output = formats.local_path(output, wording.output)
        for name in ("model", "defects"):
            formats.local_path(getattr(options, name), f"--{name}")
        single = len(self.jobs) == 1 and len(self.jobs[0].results) == 1
        allowed = formats.TIFF.suffixes if single else ()
        self._runner = JobRunner(
            base=self.output,
            beside={n: output_file(p, f"--{n}", allowed) for n, p in beside.items()},
            options=replace(
                options,
                return_residual="residual" in beside,
                return_uncertainty="uncertainty" in beside,
            ),
            resume=resume,
            overwrite=overwrite,
            scene=scene,
            as_one=as_one or "t",
            quality=quality,
            keep_unfinished=keep_unfinished,
        )
        for job in self.jobs:
            for target in job.results:
                formats.check_quality(quality, target)
        self._check_outputs(overwrite)
        self._check_model()

    def _check_outputs(self, overwrite: bool) -> None:
        """Check that no output overwrites an input or another output."""
        outputs = [
            Output(target, self._wording.output, f"the result of {source}", job.is_sequence)
            for job in self.jobs
            for source, target in zip(job.sources or (job.source,), job.results, strict=False)
        ]
        for name, path in self._runner.beside.items():
            outputs += [
                Output(
                    place_beside(target, path, self._runner.base),
                    f"--{name}",
                    f"the {name} of {job.name}",
                )
                for job in self.jobs
                for target in job.results
            ]
        if self._report is not None:
            outputs.append(Output(self._report, "--report", "the report"))
        own = (self._runner.options.model, self._runner.options.defects)
        given = [Path(value) for value in own if isinstance(value, str)]
        inputs = [file for job in self.jobs for file in job.files]
        inputs += [path for path in given if path.is_file()]
        check_outputs(outputs, inputs, overwrite, self._runner.resume, self._wording)
        for root in {job.plate[1] for job in self.jobs if job.plate is not None}:
            if root.exists() and not self._runner.resume:
                fields = {job.plate[2] for job in self.jobs if job.plate and job.plate[1] == root}
                check_replaceable_plate(root, fields, overwrite, self._wording)
        # An interrupted run leaves these results as they were.
        self._replaced = {
            target
            for job in self.jobs
            for target in job.results
            if target.exists() and not self._runner.resume
        }

    def _check_model(self) -> None:
        """Check the options that depend on the model and the device."""
        # Models for pictures are known before the files are opened; all have the same stages.
        files = [source for job in self.jobs for source in (job.sources or (job.source,))]
        automatic = self._runner.options.model == AUTO
        chosen_by_image = automatic and (
            self._runner.scene == raw.PLANES or not all(map(is_picture, files))
        )
        model = weights.load(PHOTO if automatic else self._runner.options.model)
        if self._runner.scene == raw.PLANES and not (automatic or model.is_quantitative):
            raise ValueError(
                f"model: got {model.name!r} for the colour planes of camera raw files"
                " (--denoise-only), which it would hardly denoise; allowed are 'auto' and models that"
                " keep intensities, such as 'microscopy'"
            )
        depth_of(self._runner.options, model)
        find_device(self._runner.options.device)
        for name in self._runner.beside:
            if not (chosen_by_image or model.is_quantitative):
                raise ValueError(
                    f"--{name}: got the model {model.name!r}; allowed is microscopy, or another"
                    " model that keeps intensities"
                )

    def steps(self) -> Generator[Event, None, None]:
        """Enhance the images one by one, then write the report, also after failures."""
        with self._reported():
            for job in self.jobs:
                yield Started(job)
                try:
                    done = yield from _as_events(job, self._runner.steps(job))
                    if job.plate is not None:
                        replaces = self._runner.overwrite and not self._runner.resume
                        copy_around(*job.plate, replaces)
                except Exception as raised:  # nothing about one file may stop the others
                    LOG.debug("%s failed", job.name, exc_info=raised)
                    error = _explained(job, raised)
                    self.failed += 1
                    self.entries.append({**_paths(job, {}), "error": str(error)})
                    self.outcomes.append(f"Failed: {reason_of(job, error)}")
                    yield Failed(job, error)
                    continue
                self.entries.append({**_paths(job, {"output": job.results}), **plain(done.record)})
                self.outcomes.append(_outcome(done))
                yield Finished(job, done)
                del done

    def is_incomplete(self, job: Job) -> bool:
        """Whether an unfinished image has a zarr that can be resumed."""
        return (
            not job.targets
            and formats.is_in_zarr(job.target)
            and job.target.exists()
            and job.target not in self._replaced
        )

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Context manager that writes the report, unless the batch is interrupted."""
        yield
        if self._report is not None:
            place = self._report.resolve()  # replace the target of a symbolic link, not the link
            with folder_of(place), replaced_when_complete(place) as partial:
                partial.write_text(json.dumps(self.entries, indent=1) + "\n", "utf-8")


def _explained(job: Job, error: Exception) -> Exception:
    """Add to an error what its message lacks: the path of the result, or the type of the exception."""
    if isinstance(error, OSError) and error.strerror and error.filename is None:
        named = error.strerror
        if str(job.target) not in named:
            named = f"{job.target} cannot be written: {named}"
        return OSError(named)
    if isinstance(error, OSError):
        error = OSError(in_plain_words(error))
    if str(error) and isinstance(error, EXPLAINED):
        return error
    reason = " ".join(str(error).split())
    return RuntimeError(f"{type(error).__name__}{': ' if reason else ''}{reason}")


def reason_of(job: Job, error: Exception) -> str:
    """Why an image could not be enhanced, without its path."""
    return str(error).removeprefix("image: ").removeprefix(f"{job.source}: ")


def _outcome(done: Enhancement) -> str:
    """Describe the result of an image; its warnings follow in separate lines."""
    warnings = done.record["warnings"]
    parts = [f"Done in {duration(done.record['seconds'])}"]
    verdicts = [report.verdict.splitlines()[0] for report in done.reports]
    if len(verdicts) > 1:
        verdicts = [f"channel {number}: {text}" for number, text in enumerate(verdicts, 1)]
    parts += verdicts
    if warnings:
        others = f" (and {len(warnings) - 1} more)" if len(warnings) > 1 else ""
        parts.append(f"warning: {warnings[0]}{others}")
    return "\n".join(["; ".join(parts), *warnings])


def _check_raw(
    jobs: Sequence[Job], scene: int | str | None, as_one: str | None, output: str
) -> None:
    """Check that all images can be denoised without brightening.

    Raises
    ------
    ValueError
    """
    for name, value in (("scene", scene), ("as-one", as_one)):
        if value is not None:
            raise ValueError(f"--{name}: got {value!r} with --denoise-only; leave out --{name}")
    if output not in ("same", *dng_sink.DTYPES):
        raise ValueError(
            f"--output: got {output} with --denoise-only, which writes .dng files of 16 bits; leave"
            " out --output"
        )
    allowed = (*formats.RAW.suffixes, *formats.DNG.suffixes)
    for job in jobs:
        if formats.suffix_of(job.source) not in allowed:
            raise ValueError(
                f"--denoise-only: got {job.source.name}; allowed are camera raw files,"
                f" {', '.join(allowed)}. For other images, use --model microscopy, which does not"
                " brighten them"
            )
        if formats.suffix_of(job.target) not in formats.DNG.suffixes:
            raise ValueError(
                f"--denoise-only: got the output {job.target.name}; allowed are .dng files"
            )


def _as_events(
    job: Job, steps: Generator[Progress, None, Enhancement]
) -> Generator[Stepped, None, Enhancement]:
    """Convert the steps of an image to those of a batch."""
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as finished:
                result: Enhancement = finished.value
                return result
            yield Stepped(job, step)
    finally:
        steps.close()


def _paths(job: Job, outputs: dict[str, tuple[Path, ...]]) -> dict[str, Any]:
    """Paths in the form of a record: a single one as text, several as a list."""
    paths = {"input": job.sources or (job.source,), **outputs}
    return {k: str(v[0]) if len(v) == 1 else [str(p) for p in v] for k, v in paths.items()}
