"""Jobs of a batch: find input files in folders, and name the paths of their results."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_dcr.io import formats
from napari_dcr.io.files import why_missing
from napari_dcr.io.formats import local_path
from napari_dcr.io.outputs import SHELL, Wording
from napari_dcr.io.plates import fields_of
from napari_dcr.io.sequence import is_sequence


@dataclass(frozen=True)
class Job:
    """Image to enhance, and the path of its result.

    Attributes
    ----------
    source, target : Path
    files : tuple of Path
        All files and folders of the image.
    sources : tuple of Path
        Files that are enhanced as one recording, starting with ``source``; empty for a single
        image.
    targets : tuple of Path
        Result of each of these files, in the folder ``target``; empty if they have one result.
    plate : tuple of (Path, Path, str), optional
        For a field of an OME-Zarr plate or well: the plate, the plate of the results, and the path
        of the field within them.
    is_sequence : bool
        Whether the name of ``target`` is a pattern for one file per frame.  Only the given output
        can be one; names of inputs are used as they are.
    problem : str
        Why the image cannot be opened, if this is known already; the job then has no results.
    """

    source: Path
    target: Path
    files: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    targets: tuple[Path, ...] = ()
    plate: tuple[Path, Path, str] | None = None
    is_sequence: bool = False
    problem: str = ""

    @property
    def results(self) -> tuple[Path, ...]:
        """All paths that the job writes."""
        return () if self.problem else self.targets or (self.target,)

    @property
    def name(self) -> str:
        """Short description of the job."""
        others = len(self.sources) - 1
        return f"{self.source.name} and {others} more" if others > 0 else self.source.name


@dataclass(frozen=True)
class LeftOut:
    """File that was found but is not enhanced, with the reason."""

    path: Path
    reason: str


def find_jobs(
    inputs: Sequence[str],
    output: str,
    beside: Sequence[Path] = (),
    as_one: bool = False,
    wording: Wording = SHELL,
    becomes: str | None = None,
) -> tuple[list[Job], list[LeftOut]]:
    """Find the images in files and folders, and name their results.

    Hidden files and folders are skipped, and so are further files of an image that is stored in
    several files.  An input that cannot be opened, such as a missing file, is a job with a
    ``problem``, so that the other inputs are still enhanced.

    Parameters
    ----------
    inputs : sequence of str
        Paths of files, folders and zarr images.
    output : str
        Path of a file for one image, or of a folder.  In a folder, results have the same relative
        paths as their sources.
    beside : sequence of Path
        Folders of further outputs, which are not searched for inputs either.
    as_one : bool
        Whether all images form one recording, sorted by path with numbers in numerical order.  The
        result is one file, or one file for each image if ``output`` is a folder.
    wording : Wording
        Names of the arguments in messages.
    becomes : str, optional
        Suffix of all results in a folder; by default the suffix of the source, if it is written.

    Raises
    ------
    ValueError
        If the only input or one of a recording cannot be opened, no input is an image, or
        ``output`` is not allowed.
    """
    out = local_path(output, wording.output)
    paths = [local_path(text, wording.inputs) for text in inputs]
    problems = {path: reason for path in paths if (reason := _problem(path))}
    if as_one or len(paths) == 1:
        for text, path in zip(inputs, paths, strict=True):
            if path in problems:
                raise ValueError(f"{wording.inputs}: {text} {problems[path]}")
    single = len(paths) == 1 and not _is_folder(paths[0])
    to_file = _is_file(output, out, single or as_one, wording)
    numbered = to_file and is_sequence(out) and out.suffix.lower() != formats.ZARR
    left_out: list[LeftOut] = []
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    results = {path.resolve() for path in (out, *beside)}
    for source, relative in _sources(paths, results, left_out):
        if problem := problems.get(source):
            jobs.append(Job(source, out / relative, problem=problem))
            continue
        try:
            files = formats.other_files(source)
        except ValueError:  # an incomplete image raises an error when it is read
            files = [source]
        if not single:
            if taken.get(source, source) != source:
                reason = f"is part of the image of {taken[source].name} and enhanced with it"
                left_out.append(LeftOut(source, reason))
                continue
            taken.update(dict.fromkeys(files, source))
        target = out if to_file else out / relative
        if fields := fields_of(source) if formats.is_in_zarr(source) else []:
            jobs += _of_plate(source, target, fields, as_one, wording)
            continue
        if not to_file and (new := becomes or formats.becomes(source)):
            suffix = formats.suffix_of(source)
            target = target.with_name(target.name[: -len(suffix)] + new)
        jobs.append(Job(source, target, (source, *files), is_sequence=numbered))
    if as_one and jobs:
        jobs.sort(key=lambda job: natural(str(job.source)))
        jobs = [
            Job(
                jobs[0].source,
                out,
                tuple(file for job in jobs for file in job.files),
                tuple(job.source for job in jobs),
                () if to_file else tuple(job.target for job in jobs),
                is_sequence=numbered,
            )
        ]
    if not jobs:
        raise ValueError(
            f"{wording.inputs}: no {', '.join(formats.SUFFIXES)} or {formats.ZARR} in {', '.join(inputs)}"
        )
    return jobs, left_out


def _of_plate(
    source: Path, target: Path, fields: Sequence[str], as_one: bool, wording: Wording
) -> list[Job]:
    """One job for each field of an OME-Zarr plate or well."""
    if as_one:
        raise ValueError(
            f"{wording.inputs}: {source} is a plate, whose fields cannot be joined to one recording"
        )
    if target.suffix.lower() != formats.ZARR:
        raise ValueError(
            f"{wording.output}: got {target} for the plate {source.name}; allowed is a {formats.ZARR}"
        )
    return [
        Job(source / field, target / field, (source / field, source), plate=(source, target, field))
        for field in fields
    ]


def parse_scene(text: str) -> int | str | None:
    """Scene that a text names: a number, a name, or None if it is empty."""
    return int(text) if text.isdecimal() else text or None


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
"""Suffix of a path that looks like that of a file, and not like the end of a folder's name."""


def _is_file(given: str, out: Path, single: bool, wording: Wording) -> bool:
    """Whether the output is a file or zarr; else a folder.

    Raises
    ------
    ValueError
        If the suffix cannot be written, or if one file is given for several images.
    """
    suffix = out.suffix.lower()
    known = suffix in formats.WRITTEN or suffix == formats.ZARR
    if given.endswith(("/", os.sep)) or (out.is_dir() and suffix != formats.ZARR):
        return False
    if known and single:
        return True
    if known:
        raise ValueError(f"{wording.output}: got {given} for several images; pass a folder")
    if _SUFFIX.fullmatch(suffix):
        raise ValueError(
            f"{wording.output}: got {given}; {suffix} is not written; allowed are {', '.join(formats.WRITTEN)},"
            f" {formats.ZARR}, or a folder, whose name may end with {os.sep}"
        )
    return False


def _sources(
    paths: Sequence[Path], results: set[Path], left_out: list[LeftOut]
) -> Iterator[tuple[Path, Path]]:
    """Images, and their paths relative to the given folder."""
    for path in paths:
        if not _is_folder(path):
            yield path, Path(path.name)
            continue
        for folder, folders, files in os.walk(path):
            here = Path(folder)
            shown = sorted(name for name in folders if not name.startswith("."))
            zarrs = [name for name in shown if name.lower().endswith(formats.ZARR)]
            # The planes of an OIF are in a folder named after the file.
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
                if _is_device(source):  # reading it might never end
                    left_out.append(LeftOut(source, "is neither a file nor a folder"))
                elif name.startswith("."):
                    left_out.append(LeftOut(source, "is hidden"))
                elif source.exists() and (reason := formats.other_kind(source)):
                    left_out.append(LeftOut(source, reason))
                else:
                    yield source, source.relative_to(path)


def _problem(path: Path) -> str:
    """Why an input cannot be opened; empty if nothing is known against it."""
    if reason := why_missing(path):
        return reason if path.is_symlink() else "does not exist"
    return "is neither a file nor a folder" if _is_device(path) else ""


def _is_device(path: Path) -> bool:
    """Whether a path is that of a pipe, a socket or a device."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_image(name: str) -> bool:
    return name.lower().endswith((*formats.SUFFIXES, formats.ZARR))
