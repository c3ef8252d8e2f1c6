"""Paths of results: checks before a run, and the folders that they need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from napari_dcr.io import formats
from napari_dcr.io.files import unwritable_folder
from napari_dcr.io.ome_zarr import check_replaceable
from napari_dcr.io.plates import fields_of
from napari_dcr.io.sequence import any_number, existing_files, is_of_sequence


@dataclass(frozen=True)
class Output:
    """File or zarr that a run will write.

    Attributes
    ----------
    path : Path
    argument : str
        Argument that requested it.
    content : str
        Description of the content, for messages.
    is_sequence : bool
        Whether the name is a pattern for one file per frame.
    """

    path: Path
    argument: str
    content: str
    is_sequence: bool = False


@dataclass(frozen=True)
class Wording:
    """Names of the arguments, and advice, in messages.

    Attributes
    ----------
    inputs, output : str
        Names of the arguments.
    overwrite, resume : str
        How to replace an existing result, and how to continue an unfinished zarr; the latter is
        empty where that is not possible.
    """

    inputs: str = "IN"
    output: str = "OUT"
    overwrite: str = "add --overwrite to replace it"
    resume: str = "add --resume to continue it"

    @property
    def for_zarr(self) -> str:
        """How to continue or to replace a zarr."""
        return ", or ".join(filter(None, (self.resume, self.overwrite)))


SHELL = Wording()


def output_file(given: str, argument: str, suffixes: tuple[str, ...]) -> Path:
    """Path of a further output: a file with one of the suffixes, or a folder without suffixes.

    Raises
    ------
    ValueError
        If the path has another suffix.
    """
    path = formats.local_path(given, argument)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{argument}: got {given}; allowed are {' and '.join(suffixes)} files")
    if not suffixes and (path.suffix or path.is_file()):
        raise ValueError(f"{argument}: got {given} for several images; pass a folder")
    return path


@contextmanager
def folder_of(target: Path) -> Iterator[None]:
    """Context manager that creates the folder of an output, and removes it if it stays empty."""
    missing = [p for p in target.parents if not p.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in missing:
            with suppress(OSError):  # the folder is not empty
                folder.rmdir()


def place_beside(target: Path, given: Path, out: Path) -> Path:
    """Path of a further output of a job.

    Parameters
    ----------
    target : Path
        Path of the result.
    given : Path
        A file, or a folder, which has no suffix.
    out : Path
        Path of the result, or of the folder that contains it.
    """
    if given.suffix:
        return given
    below = target.relative_to(out) if target.is_relative_to(out) else Path()
    return (given / (below if below.name else target.name)).with_suffix(".tif")


def check_outputs(
    outputs: Sequence[Output],
    inputs: Iterable[Path],
    overwrite: bool,
    resume: bool,
    wording: Wording = SHELL,
) -> None:
    """Check that outputs overwrite neither inputs, nor each other, nor existing files.

    Symbolic links are followed, because the file that they point to would be written.

    Parameters
    ----------
    outputs : sequence of Output
        All files that will be written.
    inputs : iterable of Path
        All files and folders that will be read.
    overwrite : bool
        Whether existing files may be replaced.
    resume : bool
        Whether a zarr that exists is continued.
    wording : Wording

    Raises
    ------
    ValueError
        If an output would overwrite one of these.
    """
    check_apart(outputs, inputs)
    for output in outputs:
        _check_existing(output, overwrite, resume, wording)


def check_apart(outputs: Sequence[Output], inputs: Iterable[Path]) -> None:
    """Check that outputs overwrite neither inputs nor each other; see `check_outputs`.

    Raises
    ------
    ValueError
        If an output would overwrite one of these.
    """
    read = {path.resolve() for path in inputs}
    around_read = {folder for path in read for folder in path.parents}
    written: dict[Path, Output] = {}
    for output in outputs:
        path, argument = output.path, output.argument
        place = path.resolve()
        replaced = existing_files(place) if output.is_sequence else []
        if changed := next((file for file in replaced if file.resolve() in read), None):
            raise ValueError(
                f"{argument}: {path} would replace the input file {changed}; inputs are never"
                " overwritten"
            )
        if place in read:
            raise ValueError(
                f"{argument}: {path} is the input file itself; inputs are never overwritten"
            )
        if inside := next((folder for folder in place.parents if folder in read), None):
            raise ValueError(
                f"{argument}: {path} lies in the input {inside}, which is never changed"
            )
        if formats.is_in_zarr(path) and place in around_read:
            raise ValueError(f"{argument}: {path} holds an input; inputs are never changed")
        same = any_number(place) if output.is_sequence else place
        if same in written:
            raise ValueError(
                f"{argument}: {written[same].content} and {output.content} would both be"
                f" written to {path}"
            )
        written[same] = output
    for place, output in written.items():
        if outer := next((folder for folder in place.parents if folder in written), None):
            raise ValueError(
                f"{output.argument}: {output.path} lies in {outer}, to which"
                f" {written[outer].content} is written"
            )
        for pattern in (each for each in outputs if each.is_sequence and each is not output):
            if is_of_sequence(place, pattern.path.resolve()):
                raise ValueError(
                    f"{output.argument}: {output.path} is one of the files of {pattern.path}, to"
                    f" which {pattern.content} is written"
                )


def _check_existing(output: Output, overwrite: bool, resume: bool, wording: Wording) -> None:
    """Raise a ValueError if an output would replace something that exists."""
    path, argument = output.path, output.argument
    if resume and argument == wording.output and not formats.is_in_zarr(path):
        raise ValueError(f"{argument}: got {path}; --resume requires a .zarr")
    blocked = next((p for p in path.parents if p.exists() and not p.is_dir()), None)
    if blocked is not None:
        raise ValueError(f"{argument}: got {path}, but {blocked} is a file, not a folder")
    if folder := unwritable_folder(path.resolve()):
        raise ValueError(f"{argument}: got {path}, but the folder {folder} is not writable")
    if output.is_sequence:
        if not overwrite and (found := existing_files(path)):
            raise ValueError(
                f"{argument}: {found[0]} exists, as do {len(found) - 1} more of {path.name};"
                f" {wording.overwrite}"
            )
        return
    if not path.exists():
        return
    if formats.is_in_zarr(path):
        if not resume and not overwrite:
            raise ValueError(f"{argument}: {path} exists; {wording.for_zarr}")
        if not resume:
            check_replaceable(path, argument)
    elif path.is_dir():
        raise ValueError(f"{argument}: {path} is a folder; pass the path of a file")
    elif not overwrite:
        raise ValueError(f"{argument}: {path} exists; {wording.overwrite}")


def check_replaceable_plate(
    root: Path, fields: Iterable[str], overwrite: bool, wording: Wording
) -> None:
    """Check that a plate that exists may be replaced, field by field: all that it holds are results.

    Parameters
    ----------
    root : Path
        Plate that exists.
    fields : iterable of str
        Paths of the fields that will be written within it.
    overwrite : bool
    wording : Wording

    Raises
    ------
    ValueError
        If it may not.
    """
    if not overwrite:
        raise ValueError(f"{wording.output}: {root} exists; {wording.for_zarr}")
    held = [root / field for field in {*fields, *fields_of(root)} if (root / field).exists()]
    for place in held or [root]:
        check_replaceable(place, wording.output)
