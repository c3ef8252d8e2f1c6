"""Which file becomes which: inputs found in folders, and the paths of their results."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_dcr.io import formats
from napari_dcr.io.formats import local_path


@dataclass(frozen=True)
class Job:
    """An image to enhance, and the path of its result.

    Attributes
    ----------
    source, target : Path
    files : tuple of Path
        All files and folders that the image is read from.
    sources : tuple of Path
        Files that are enhanced as one recording, of which ``source`` is the first; none for
        an image by itself.
    targets : tuple of Path
        Results of each of these, in the folder ``target``; none if they have one result.
    """

    source: Path
    target: Path
    files: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    targets: tuple[Path, ...] = ()

    @property
    def results(self) -> tuple[Path, ...]:
        """All paths that are written."""
        return self.targets or (self.target,)

    @property
    def name(self) -> str:
        """The job in a few words."""
        others = len(self.sources) - 1
        return f"{self.source.name} and {others} more" if others > 0 else self.source.name


@dataclass(frozen=True)
class Output:
    """A file or zarr that a run will write.

    Attributes
    ----------
    path : Path
    argument : str
        That asked for it.
    content : str
        What is written, as a message names it.
    """

    path: Path
    argument: str
    content: str


@dataclass(frozen=True)
class LeftOut:
    """A file that was found and is not enhanced by itself, and why."""

    path: Path
    reason: str


def find_jobs(
    inputs: Sequence[str], output: str, beside: Sequence[Path] = (), as_one: bool = False
) -> tuple[list[Job], list[LeftOut]]:
    """Find the images in files and folders, and name their results.

    Hidden files and folders are left out, and so are the further files of an image that
    is spread over several.

    Parameters
    ----------
    inputs : sequence of str
        Paths of files, folders and zarr images.
    output : str
        Path of a file for one image, else of a folder, below which results lie as their
        sources do below theirs.
    beside : sequence of Path
        Folders of further outputs, in which no input is searched for either.
    as_one : bool
        Whether all images are one recording, in the order of their paths with numbers by
        value. Its result is one file, or one for each image if ``output`` is a folder.

    Raises
    ------
    ValueError
        If an input is missing or none is an image, or if ``output`` does not fit.
    """
    out = local_path(output, "OUT")
    paths = [local_path(text, "IN") for text in inputs]
    for text, path in zip(inputs, paths, strict=True):
        if not path.exists():
            raise ValueError(f"IN: {text} does not exist")
    single = len(paths) == 1 and not _is_folder(paths[0])
    to_file = _is_file(output, out, single or as_one)
    left_out: list[LeftOut] = []
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    results = {path.resolve() for path in (out, *beside)}
    for source, relative in _sources(paths, results, left_out):
        try:
            files = formats.other_files(source)
        except ValueError:  # an incomplete image says so when it is read
            files = [source]
        if not single:
            if taken.get(source, source) != source:
                reason = f"is part of the image of {taken[source].name} and enhanced with it"
                left_out.append(LeftOut(source, reason))
                continue
            taken.update(dict.fromkeys(files, source))
        target = out if to_file else out / relative
        if target.suffix.lower() not in (*formats.WRITTEN, formats.ZARR) and not to_file:
            # The format is read and not written.
            suffix, becomes = formats.suffix_of(source), formats.becomes(source)
            target = target.with_name(target.name[: -len(suffix)] + becomes)
        jobs.append(Job(source, target, (source, *files)))
    if as_one and jobs:
        jobs.sort(key=lambda job: natural(str(job.source)))
        jobs = [
            Job(
                jobs[0].source,
                out,
                tuple(file for job in jobs for file in job.files),
                tuple(job.source for job in jobs),
                () if to_file else tuple(job.target for job in jobs),
            )
        ]
    if not jobs:
        raise ValueError(
            f"IN: no {', '.join(formats.SUFFIXES)} or {formats.ZARR} in {', '.join(inputs)}"
        )
    return jobs, left_out


def natural(name: str) -> list[tuple[int, str]]:
    """Key that sorts numbers in names by their value.

    Examples
    --------
    >>> sorted(["a10.tif", "a9.tif"], key=natural)
    ['a9.tif', 'a10.tif']
    """
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not formats.is_in_zarr(path)


_SUFFIX = re.compile(r"\.(?=[0-9]*[a-z])[a-z0-9]{1,5}", re.IGNORECASE)
"""What looks like the suffix of a file rather than the end of a folder's name."""


def _is_file(given: str, out: Path, single: bool) -> bool:
    """Whether the output is a file or zarr; else a folder.

    Raises
    ------
    ValueError
        For a suffix that is not written, and for one file for several images.
    """
    suffix = out.suffix.lower()
    known = suffix in formats.WRITTEN or suffix == formats.ZARR
    if given.endswith(("/", os.sep)) or (out.is_dir() and suffix != formats.ZARR):
        return False
    if known and single:
        return True
    if known:
        raise ValueError(f"OUT: got {given} for several images; give a folder")
    if _SUFFIX.fullmatch(suffix):
        raise ValueError(
            f"OUT: got {given}; {suffix} is not written; allowed are {', '.join(formats.WRITTEN)},"
            f" {formats.ZARR}, or a folder, whose name may end with {os.sep}"
        )
    return False


def _sources(
    paths: Sequence[Path], results: set[Path], left_out: list[LeftOut]
) -> Iterator[tuple[Path, Path]]:
    """Images, and their paths below what was given."""
    for path in paths:
        if not _is_folder(path):
            yield path, Path(path.name)
            continue
        for folder, folders, files in os.walk(path):
            here = Path(folder)
            shown = sorted(name for name in folders if not name.startswith("."))
            zarrs = [name for name in shown if name.lower().endswith(formats.ZARR)]
            # The planes of an OIF are in a folder that is named after it.
            planes = {f"{name}.files" for name in files if name.lower().endswith(".oif")}
            folders[:] = [
                name
                for name in shown
                if name not in {*zarrs, *planes} and (here / name).resolve() not in results
            ]
            for name in sorted([*files, *zarrs]):
                source = here / name
                if not _is_image(name) or source.resolve() in results:
                    continue
                if name.startswith("."):
                    left_out.append(LeftOut(source, "is hidden"))
                elif reason := formats.other_kind(source):
                    left_out.append(LeftOut(source, reason))
                else:
                    yield source, source.relative_to(path)


def _is_image(name: str) -> bool:
    return name.lower().endswith((*formats.SUFFIXES, formats.ZARR))


def place_beside(target: Path, given: Path, out: Path) -> Path:
    """Path of what is written beside a result.

    Parameters
    ----------
    target : Path
        Of the result.
    given : Path
        A file, or a folder, which has no suffix.
    out : Path
        What the result lies below, or is.
    """
    if given.suffix:
        return given
    below = target.relative_to(out) if target.is_relative_to(out) else Path()
    return (given / (below if below.name else target.name)).with_suffix(".tif")


def check_outputs(
    outputs: Sequence[Output], inputs: Iterable[Path], overwrite: bool, resume: bool
) -> None:
    """Check that outputs overwrite neither inputs nor each other, nor unasked what exists.

    Links are followed: what counts is the file that would be written.

    Parameters
    ----------
    outputs : sequence of Output
        All files that will be written.
    inputs : iterable of Path
        All files and folders that will be read.
    overwrite : bool
        Whether files that exist may be replaced.
    resume : bool
        Whether a zarr that exists is continued.

    Raises
    ------
    ValueError
        If one would.
    """
    read = {path.resolve() for path in inputs}
    around_read = {folder for path in read for folder in path.parents}
    written: dict[Path, Output] = {}
    for output in outputs:
        path, argument = output.path, output.argument
        place = path.resolve()
        if place in read:
            raise ValueError(
                f"{argument}: {path} is the input file itself; inputs are never overwritten"
            )
        if inside := next((folder for folder in place.parents if folder in read), None):
            raise ValueError(
                f"{argument}: {path} lies in the input {inside}, which is never changed"
            )
        if place in written:
            raise ValueError(
                f"{argument}: {written[place].content} and {output.content} would both be"
                f" written to {path}"
            )
        written[place] = output
        _check_existing(output, overwrite, resume, place in around_read)
    for place, output in written.items():
        if outer := next((folder for folder in place.parents if folder in written), None):
            raise ValueError(
                f"{output.argument}: {output.path} lies in {outer}, to which"
                f" {written[outer].content} is written"
            )


def _check_existing(output: Output, overwrite: bool, resume: bool, holds_input: bool) -> None:
    """Say if an output would replace what exists."""
    path, argument = output.path, output.argument
    if resume and argument == "OUT" and not formats.is_in_zarr(path):
        raise ValueError(f"OUT: got {path}; --resume takes a .zarr")
    blocked = next((p for p in path.parents if p.exists() and not p.is_dir()), None)
    if blocked is not None:
        raise ValueError(f"{argument}: got {path}, but {blocked} is a file, not a folder")
    if not path.exists():
        return
    if formats.is_in_zarr(path):
        if holds_input:
            raise ValueError(f"{argument}: {path} holds an input; inputs are never changed")
        if not resume:
            raise ValueError(f"{argument}: {path} exists; give --resume to continue it")
    elif path.is_dir():
        raise ValueError(f"{argument}: {path} is a folder; give the path of a file")
    elif not overwrite:
        raise ValueError(f"{argument}: {path} exists; give --overwrite to replace it")
