"""Which file becomes which: inputs found in folders, and the paths of their results."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_dcr.io import formats
from napari_dcr.io.formats import local_path


@dataclass(frozen=True)
class Job:
    """An image to enhance, and the path of its result."""

    source: Path
    target: Path


@dataclass(frozen=True)
class LeftOut:
    """A file that was found and is not enhanced by itself, and why."""

    path: Path
    reason: str


def find_jobs(inputs: Sequence[str], output: str) -> tuple[list[Job], list[LeftOut]]:
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
    to_file = _is_file(output, out, single)
    left_out: list[LeftOut] = []
    jobs: list[Job] = []
    taken: dict[Path, Path] = {}
    for source, relative in _sources(paths, out, left_out):
        if not single:
            try:
                files = formats.other_files(source)
            except ValueError:  # an incomplete image says so when it is read
                files = [source]
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
        jobs.append(Job(source, target))
    if not jobs:
        raise ValueError(
            f"IN: no {', '.join(formats.SUFFIXES)} or {formats.ZARR} in {', '.join(inputs)}"
        )
    return jobs, left_out


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
    paths: Sequence[Path], out: Path, left_out: list[LeftOut]
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
            folders[:] = [n for n in shown if n not in {*zarrs, *planes} and here / n != out]
            for name in sorted([*files, *zarrs]):
                source = here / name
                if source == out or not _is_image(name):
                    continue
                if name.startswith("."):
                    left_out.append(LeftOut(source, "is hidden"))
                elif reason := formats.other_kind(source):
                    left_out.append(LeftOut(source, reason))
                else:
                    yield source, source.relative_to(path)


def _is_image(name: str) -> bool:
    return name.lower().endswith((*formats.SUFFIXES, formats.ZARR))


def check_targets(jobs: Sequence[Job], overwrite: bool, resume: bool) -> None:
    """Check that results overwrite neither inputs nor each other, nor unasked what exists.

    Raises
    ------
    ValueError
        If one would.
    """
    taken: dict[Path, Path] = {}
    for job in jobs:
        source, target = job.source, job.target
        if target.resolve() == source.resolve():
            raise ValueError(
                f"OUT: {target} is the input file itself; inputs are never overwritten"
            )
        if target in taken:
            raise ValueError(f"OUT: {taken[target]} and {source} would both be written to {target}")
        if formats.is_in_zarr(target):
            if target.exists() and not resume:
                raise ValueError(f"OUT: {target} exists; give --resume to continue it")
        elif resume:
            raise ValueError(f"OUT: got {target}; --resume takes a .zarr")
        elif target.exists() and not overwrite:
            raise ValueError(f"OUT: {target} exists; give --overwrite to replace it")
        taken[target] = source
