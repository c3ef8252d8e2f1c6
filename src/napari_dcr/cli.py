"""``napari-dcr``: enhance image files from a shell."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import formats
from napari_dcr.io.files import Picture, replaced_when_complete
from napari_dcr.io.jobs import Job, Output, check_outputs, find_jobs, place_beside
from napari_dcr.options import PRECISIONS, Options, parse_noise
from napari_dcr.version import __version__

if TYPE_CHECKING:
    from napari_dcr.enhancement import Enhancement

EXAMPLES = """examples:
  napari-dcr enhance night.jpg -o bright.jpg
      brighten a photograph
  napari-dcr enhance cells.ome.tif -o clean.ome.tif --model microscopy --report report.json
      remove the noise of a fluorescence image, keep its intensities, and say how well
  napari-dcr enhance recordings/ -o bright/ --axes tyx --depth 1
      all images of a folder, as recordings of time, y and x, in a third of the time
"""


class Terminated(KeyboardInterrupt):
    """The process was asked to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with _stopped_by_signals(), warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            warnings.showwarning = _show_warning
            status: int = options.run(options)
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; nothing may be written to it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except (ValueError, TypeError, OSError, MemoryError) as error:
        print(f"napari-dcr: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stopped:
        how, status = (
            ("terminated", 143) if isinstance(stopped, Terminated) else ("interrupted", 130)
        )
        print(
            f"napari-dcr: {how}; finished files are complete, no other was written", file=sys.stderr
        )
        return status
    return status


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Context manager within which SIGINT and SIGTERM raise, once: cleaning up is not interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    # Shells let what they start in the background ignore SIGINT; that is left so.
    asked = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
    before = {s: signal.getsignal(s) for s in asked}
    for each in asked:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _show_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    """Show a warning in the form of the errors."""
    print(f"napari-dcr: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="napari-dcr", description="Brighten and clean low-light images."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="print devices, weights and versions")
    info.set_defaults(run=_info)

    enhance = commands.add_parser(
        "enhance",
        help="enhance image files",
        description=f"Enhance {', '.join(formats.SUFFIXES)} files, or all of them in folders, and zarr"
        " arrays and OME-Zarr images. Large .zarr and .tif files are processed tile by tile.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    enhance.set_defaults(run=_enhance)
    add = enhance.add_argument
    add(
        "input",
        nargs="+",
        metavar="IN",
        help="files, zarr images, or folders (searched recursively)",
    )
    add(
        "-o", "--output-path", required=True, metavar="OUT",
        help=f"output file ({', '.join(formats.WRITTEN)} or {formats.ZARR}), or folder if there are"
        " several inputs",
    )  # fmt: skip
    add("--overwrite", action="store_true", help="replace files that exist")
    add("--resume", action="store_true", help="continue an interrupted .zarr output")
    add(
        "--model", default=Options.model,
        help="auto (the same as photo); photo: brighten and clean pictures for viewing; microscopy:"
        " remove noise and keep intensities; or the path of a .safetensors file (default: auto)",
    )  # fmt: skip
    add(
        "--depth", type=int, default=Options.depth,
        help="how many stages of cleaning to run, 0 to 3; 0 only brightens (default: all)",
    )  # fmt: skip
    add(
        "--detail", action=argparse.BooleanOptionalAction, default=Options.detail,
        help="preserve fine detail (default: yes)",
    )  # fmt: skip
    add(
        "--strength", type=float, default=Options.strength,
        help="mix of the input, 0, and its enhancement, 1 (default: 1)",
    )  # fmt: skip
    add(
        "--exposure", type=float, default=Options.exposure,
        help="brighten or darken the result, in stops from -4 to 4 (default: 0)",
    )  # fmt: skip
    add(
        "--denoise", type=float, default=Options.denoise,
        help="how much of the noise to remove, from 0 (only brighten) to 1 (default: 1)",
    )  # fmt: skip
    add(
        "--denoise-colour", type=float, default=Options.denoise_colour, metavar="DENOISE",
        help="the same for colour noise alone (photo only; default: as --denoise)",
    )  # fmt: skip
    add(
        "--saturation", type=float, default=Options.saturation,
        help="strength of the colours, from 0 (grey) to 2 (photo only; default: 1)",
    )  # fmt: skip
    add(
        "--defects", default=Options.defects, metavar="WHICH",
        help="offsets of columns and rows, hot pixels: auto finds and corrects them, off leaves"
        " them alone; or an .npz file that napari_dcr.Defects.save wrote (default: auto)",
    )  # fmt: skip
    add(
        "--noise", type=_noise, default=Options.noise, metavar="GAIN,OFFSET,READ",
        help="the camera's noise for microscopy, if you know it: units per electron, units without"
        " light, read noise in electrons, such as 2.2,100,1.4 (default: found in the image)",
    )  # fmt: skip
    add(
        "--axes", default=Options.axes,
        help="a letter per axis: y, x, t (time), z (planes), c (channels), s (colour samples), such"
        " as tyx (default: as the file says)",
    )  # fmt: skip
    add(
        "--scene", type=_scene, metavar="SCENE",
        help="image to take from files that hold several, by its number from 0 or its name",
    )  # fmt: skip
    add(
        "--input-range", type=_input_range, default=Options.input_range, metavar="RANGE",
        help="black and white point: auto, dtype, or BLACK,WHITE (default: auto)",
    )  # fmt: skip
    add(
        "--nodata", type=float, default=Options.nodata, metavar="VALUE",
        help="value of pixels without data, such as -9999 (default: as the file says)",
    )  # fmt: skip
    add(
        "--link-frames", action=argparse.BooleanOptionalAction, default=Options.link_frames,
        help="use the same tone curve for all frames of a stack (default: yes)",
    )  # fmt: skip
    add(
        "--output", default=Options.output, metavar="DTYPE",
        help="data type of the result: same, or one such as uint8 or float32 (default: same)",
    )  # fmt: skip
    add(
        "--tile", type=_tile, default=Options.tile,
        help="side of the tiles in pixels, or auto; smaller ones use less memory (default: auto)",
    )  # fmt: skip
    add(
        "--device", default=Options.device,
        help="processor to use: auto, cpu, cuda, cuda:1, mps (default: auto)",
    )  # fmt: skip
    add(
        "--precision", choices=PRECISIONS, default=Options.precision,
        help="number format used for computing; auto takes a fast one only for 8-bit results"
        " (default: auto)",
    )  # fmt: skip
    add(
        "--report", metavar="FILE",
        help="write settings, warnings and, for microscopy, figures of every result to a .json file",
    )  # fmt: skip
    for name, what in (
        ("residual", "what was removed"), ("uncertainty", "the standard error of each pixel"),
    ):  # fmt: skip
        add(
            f"--{name}", metavar="FILE",
            help=f"write {what} to a .tif file, or to a folder if there are several inputs"
            " (microscopy only)",
        )  # fmt: skip
    add("-q", "--quiet", action="store_true", help="show errors and warnings only")
    return parser


def _scene(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _input_range(text: str) -> str | tuple[float, float]:
    if text in ("auto", "dtype"):
        return text
    try:
        black, white = (float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; allowed are auto, dtype, or BLACK,WHITE, for example 100,4095"
        ) from None
    return black, white


def _noise(text: str) -> object:
    try:
        return parse_noise(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("noise: ")) from None


def _tile(text: str) -> str | int:
    try:
        return text if text == "auto" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; allowed are auto and whole numbers from 64, for example 512"
        ) from None


def _info(_: argparse.Namespace) -> int:
    import torch

    from napari_dcr.engine.devices import list_devices
    from napari_dcr.network import cards, weights

    print(f"napari-dcr {__version__}")
    print(f"python {sys.version.split()[0]}, torch {torch.__version__}, numpy {np.__version__}")
    print("devices:")
    for device in list_devices():
        print(f"  {device.name}: {device.label}, {device.free / 2**30:.1f} GiB free")
    print("weights:")
    for name, path in cards.shipped().items():
        model = weights.load(name)
        print(
            f"  {name}: depth 0 to {model.network.stages}, {path.stat().st_size / 2**20:.1f} MiB, sha256 {model.sha256}"
        )
    return 0


def _enhance(arguments: argparse.Namespace) -> int:
    fields = set(Options.__dataclass_fields__)
    options = Options(**{k: v for k, v in vars(arguments).items() if k in fields})
    folders = [formats.local_path(p, f"--{name}") for name, p in _given_beside(arguments)]
    jobs, left_out = find_jobs(arguments.input, arguments.output_path, folders)
    run = _Run(options, arguments, jobs)
    for each in left_out:
        print(f"napari-dcr: {_short(each.path)} {each.reason}; it is left out", file=sys.stderr)
    failed = 0
    for job in jobs:
        try:
            run.do(job)
        except (ValueError, TypeError, OSError, MemoryError) as error:
            run.fail(job, error)
            if len(jobs) == 1:
                run.write_report()
                raise
            # One damaged file of a folder must not stop the others.
            text = str(error).removeprefix(f"{job.source}: ")
            print(f"napari-dcr: {_short(job.source)}: {text}", file=sys.stderr)
            failed += 1
    run.write_report()
    if failed:
        print(f"napari-dcr: {failed} of {len(jobs)} files failed", file=sys.stderr)
    return 1 if failed else 0


class _Run:
    """Enhances files one by one, and keeps what the report says of them.

    Parameters
    ----------
    options : Options
    arguments : Namespace
    jobs : sequence of Job
        All images that will be enhanced.

    Raises
    ------
    ValueError
        If an argument does not fit, or an output would overwrite what it must not; before
        any image is read.
    """

    def __init__(
        self, options: Options, arguments: argparse.Namespace, jobs: Sequence[Job]
    ) -> None:
        self._quiet, self._resume = arguments.quiet, arguments.resume
        self._scene = arguments.scene
        self._report = _output_file(arguments.report, "--report", (".json",))
        self._base = formats.local_path(arguments.output_path, "OUT")
        for name in ("model", "defects"):
            formats.local_path(getattr(arguments, name), f"--{name}")
        self._beside: dict[str, Path] = {}
        for name, path in _given_beside(arguments):
            allowed = formats.TIFF.suffixes if len(jobs) == 1 else ()
            self._beside[name] = _output_file(path, f"--{name}", allowed)
        self._check_outputs(jobs, options, arguments.overwrite)
        self._options = replace(
            options,
            return_residual="residual" in self._beside,
            return_uncertainty="uncertainty" in self._beside,
        )
        self._check_model()
        self._entries: list[dict[str, Any]] = []

    def _check_outputs(self, jobs: Sequence[Job], options: Options, overwrite: bool) -> None:
        """Check all that will be written against all that is read, and against each other."""
        outputs = [Output(j.target, "OUT", f"the result of {j.source}") for j in jobs]
        for name, path in self._beside.items():
            outputs += [
                Output(place_beside(j, path, self._base), f"--{name}", f"the {name} of {j.source}")
                for j in jobs
            ]
        if self._report is not None:
            outputs.append(Output(self._report, "--report", "the report"))
        given = [Path(v) for v in (options.model, options.defects) if isinstance(v, str)]
        inputs = [file for job in jobs for file in job.files]
        check_outputs(outputs, inputs + [p for p in given if p.is_file()], overwrite, self._resume)

    def _check_model(self) -> None:
        """Check what only the model and the device can tell."""
        from napari_dcr.engine.devices import find_device
        from napari_dcr.engine.setup import depth_of
        from napari_dcr.network import weights

        model = weights.load(self._options.model)
        depth_of(self._options, model)
        find_device(self._options.device)
        for name in self._beside:
            if not model.is_quantitative:
                raise ValueError(
                    f"--{name}: got the model {model.name!r}; allowed is microscopy, or another"
                    " model that keeps intensities"
                )

    def do(self, job: Job) -> None:
        """Enhance one image."""
        source, target = job.source, job.target
        with _folder_of(target):
            if formats.is_in_zarr(source) or formats.is_in_zarr(target) or formats.is_large(source):
                for name in self._beside:
                    raise ValueError(
                        f"--{name}: got {source.name}, which is processed tile by tile; allowed are"
                        " images that fit into memory, written to an image file"
                    )
                opened = formats.open_image(source, target, self._scene)
                with _told_if_incomplete(target):
                    done = self._drain(opened, source.name, target)
            else:
                done = self._do_in_memory(job)
        self._entries.append({"input": str(source), "output": str(target), **_plain(done.record)})
        if not self._quiet:
            axes = done.record["axes"]
            print(f"{_short(source)} (axes {axes}) -> {_short(target)}", file=sys.stderr)
        for number, report in enumerate(done.reports):
            channel = f" channel {number + 1}" if len(done.reports) > 1 else ""
            print(f"{source.name}{channel}: {report.verdict}", file=sys.stderr)

    def _do_in_memory(self, job: Job) -> Enhancement:
        source, target = job.source, job.target
        opened = formats.open_whole(source, self._scene)
        options = self._options
        layout = formats.layout_of(opened, options.axes)
        dtype = opened.array.dtype if options.output == "same" else np.dtype(options.output)
        formats.check_can_hold(target, dtype, layout)
        done = self._drain(opened, source.name)
        kept = layout.axes, opened.metadata, layout.samples
        formats.write(target, Picture(done.image, *kept))
        for name, path in self._beside.items():
            place = place_beside(job, path, self._base)
            with _folder_of(place):
                formats.write(place, Picture(getattr(done, name), *kept))
        return done

    def _drain(self, image: Any, name: str, out: Path | None = None) -> Enhancement:
        """Run to the end behind a progress bar."""
        from napari_dcr.engine.progress_bar import ProgressBar
        from napari_dcr.enhancement import drain, enhance_steps

        with ProgressBar(name, self._quiet) as bar:
            return drain(enhance_steps(image, self._options, out, self._resume), bar)

    def fail(self, job: Job, error: Exception) -> None:
        """Note an image that could not be enhanced."""
        self._entries.append({"input": str(job.source), "error": str(error)})

    def write_report(self) -> None:
        """Write what became of every image."""
        if self._report is not None:
            place = self._report.resolve()  # of a link, the file that it points to is replaced
            with _folder_of(place), replaced_when_complete(place) as partial:
                partial.write_text(json.dumps(self._entries, indent=1) + "\n", "utf-8")


def _short(path: Path) -> str:
    """A path as it is shown: from the working folder on, if it lies in it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _given_beside(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """Names and paths of what is written beside each result."""
    names = ("residual", "uncertainty")
    return [(n, getattr(arguments, n)) for n in names if getattr(arguments, n) is not None]


def _output_file(given: str | None, argument: str, suffixes: tuple[str, ...]) -> Any:
    """The path of a further output: a file with one of some suffixes, or a folder if there are none.

    Raises
    ------
    ValueError
        If its suffix is another one.
    """
    if given is None:
        return None
    path = formats.local_path(given, argument)
    if suffixes and path.suffix.lower() not in suffixes:
        raise ValueError(f"{argument}: got {given}; allowed are {' and '.join(suffixes)} files")
    if not suffixes and (path.suffix or path.is_file()):
        raise ValueError(f"{argument}: got {given} for several images; give a folder")
    return path


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    """A record as JSON writes it: numbers that are not finite become null."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): plain(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(each) for each in value]
        if isinstance(value, float) and not np.isfinite(value):
            return None
        return value

    result: dict[str, Any] = plain(record)
    return result


@contextmanager
def _told_if_incomplete(target: Path) -> Iterator[None]:
    """Context manager that says how to continue a zarr that was not completed."""
    try:
        yield
    except BaseException:
        if formats.is_in_zarr(target) and target.exists():
            print(
                f"napari-dcr: {_short(target)} is not complete; --resume continues it",
                file=sys.stderr,
            )
        raise


@contextmanager
def _folder_of(target: Path) -> Iterator[None]:
    """Context manager that creates the folder of an output, and removes it if it stays empty."""
    missing = [p for p in target.parents if not p.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for folder in missing:
            with suppress(OSError):  # not empty
                folder.rmdir()


if __name__ == "__main__":
    sys.exit(main())
