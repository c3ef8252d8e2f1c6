"""``napari-dcr``: enhance image files from a shell."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
from tqdm import tqdm

from napari_dcr.input_warnings import InputWarning
from napari_dcr.io import formats
from napari_dcr.io.files import Picture
from napari_dcr.options import PRECISIONS, Options
from napari_dcr.version import __version__

if TYPE_CHECKING:
    from napari_dcr.enhancement import Enhancement, Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", InputWarning)
            warnings.showwarning = _show_warning
            status: int = options.run(options)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        print(f"napari-dcr: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "napari-dcr: interrupted; finished files are complete, no other was written",
            file=sys.stderr,
        )
        return 130
    return status


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
        help="enhance TIFF, PNG, JPEG and zarr",
        description="Enhance TIFF, PNG and JPEG files, or all of them in folders, and zarr arrays"
        " and OME-Zarr images. What is large goes tile by tile from a .zarr or .tif to a .zarr or .tif.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    enhance.set_defaults(run=_enhance)
    enhance.add_argument(
        "input", nargs="+", type=Path, metavar="IN", help="file, or folder (searched whole)"
    )
    enhance.add_argument(
        "-o", "--output-path", required=True, type=Path, metavar="OUT",
        help="file for one input file, else folder",
    )  # fmt: skip
    enhance.add_argument("--overwrite", action="store_true", help="replace files that exist")
    enhance.add_argument(
        "--resume", action="store_true", help="go on with a .zarr that an earlier run began"
    )
    enhance.add_argument(
        "--model", default=Options.model, help="auto, a shipped name, or a .safetensors file"
    )
    enhance.add_argument(
        "--depth", type=int, default=Options.depth, help="sub-U-Nets to run; all if not given"
    )
    enhance.add_argument(
        "--detail",
        action=argparse.BooleanOptionalAction,
        default=Options.detail,
        help="detail module",
    )
    enhance.add_argument("--strength", type=float, default=Options.strength, help="0 (input) to 1")
    enhance.add_argument("--exposure", type=float, default=Options.exposure, help="stops, -4 to 4")
    enhance.add_argument(
        "--axes",
        default=Options.axes,
        help="a letter per axis, such as tyx; from the file if not given",
    )
    enhance.add_argument(
        "--input-range", type=_input_range, default=Options.input_range, metavar="RANGE",
        help="auto, dtype, or BLACK,WHITE",
    )  # fmt: skip
    enhance.add_argument(
        "--link-frames", action=argparse.BooleanOptionalAction, default=Options.link_frames,
        help="one tone curve for all frames of a stack",
    )  # fmt: skip
    enhance.add_argument(
        "--output", default=Options.output, metavar="DTYPE", help="same, or a dtype such as uint8"
    )
    enhance.add_argument(
        "--tile", type=_tile, default=Options.tile, help="auto, or a side in pixels"
    )
    enhance.add_argument("--device", default=Options.device, help="auto, cpu, cuda, cuda:1, mps")
    enhance.add_argument("--precision", choices=PRECISIONS, default=Options.precision)
    enhance.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    return parser


def _input_range(text: str) -> str | tuple[float, float]:
    if "," not in text:
        return text
    black, white = text.split(",", 1)
    return float(black), float(white)


def _tile(text: str) -> str | int:
    return text if text == "auto" else int(text)


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
    jobs = list(_jobs(arguments.input, arguments.output_path))
    _check_targets(jobs, arguments.overwrite, arguments.resume)
    failed = 0
    for source, target in jobs:
        try:
            _enhance_file(source, target, options, arguments.quiet, arguments.resume)
        except (ValueError, TypeError, OSError) as error:
            if len(jobs) == 1:
                raise
            # One damaged file of a folder must not stop the others.
            print(f"napari-dcr: {source}: {error}", file=sys.stderr)
            failed += 1
    if failed:
        print(f"napari-dcr: {failed} of {len(jobs)} files failed", file=sys.stderr)
    return 1 if failed else 0


def _jobs(inputs: Sequence[Path], output: Path) -> Iterator[tuple[Path, Path]]:
    """Pairs of source and target file."""
    single = len(inputs) == 1 and (formats.is_in_zarr(inputs[0]) or not inputs[0].is_dir())
    suffix = output.suffix.lower()
    to_file = single and (suffix == ".zarr" or (suffix in formats.SUFFIXES and not output.is_dir()))
    found = 0
    for item in inputs:
        if not item.exists():
            raise ValueError(f"IN: {item} does not exist")
        searched = item.is_dir() and not formats.is_in_zarr(item)
        sources = sorted(p for p in item.rglob("*") if p.is_file()) if searched else [item]
        for source in sources:
            if searched and (
                source.suffix.lower() not in formats.SUFFIXES
                or output.resolve() in source.resolve().parents
            ):
                continue
            found += 1
            relative = source.relative_to(item) if searched else Path(source.name)
            yield source, output if to_file else output / relative
    if not found:
        raise ValueError(
            f"IN: no {', '.join(formats.SUFFIXES)} files in {', '.join(map(str, inputs))}"
        )


def _check_targets(jobs: Sequence[tuple[Path, Path]], overwrite: bool, resume: bool) -> None:
    taken: dict[Path, Path] = {}
    for source, target in jobs:
        if target.resolve() == source.resolve():
            raise ValueError(
                f"OUT: {target} is the input file itself; inputs are never overwritten"
            )
        if target in taken:
            raise ValueError(f"OUT: {taken[target]} and {source} would both be written to {target}")
        if formats.is_in_zarr(target):
            if target.exists() and not resume:
                raise ValueError(f"OUT: {target} exists; give --resume to go on with it")
        elif resume:
            raise ValueError(f"OUT: got {target}; --resume takes a .zarr")
        elif target.exists() and not overwrite:
            raise ValueError(f"OUT: {target} exists; give --overwrite to replace it")
        taken[target] = source


def _enhance_file(source: Path, target: Path, options: Options, quiet: bool, resume: bool) -> None:
    from napari_dcr.enhancement import enhance_steps

    if formats.is_in_zarr(source) or formats.is_in_zarr(target) or formats.is_large(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        _drain(enhance_steps(source, options, target, resume), source.name, quiet)
        return
    picture = formats.read(source)
    dtype = picture.pixels.dtype if options.output == "same" else np.dtype(options.output)
    formats.check_can_hold(target, dtype)
    axes = options.axes or picture.axes
    steps = enhance_steps(picture.pixels, replace(options, axes=axes))
    result = _drain(steps, source.name, quiet)
    target.parent.mkdir(parents=True, exist_ok=True)
    formats.write(target, Picture(result.image, axes, picture.metadata))


def _drain(steps: Generator[Progress, None, Enhancement], name: str, quiet: bool) -> Enhancement:
    """Run to the end behind a progress bar."""
    from napari_dcr.enhancement import drain

    with tqdm(desc=name, unit="px", unit_scale=True, disable=quiet) as bar:

        def show(step: Progress) -> None:
            bar.total = step.total
            bar.update(step.done - bar.n)

        return drain(steps, show)


if __name__ == "__main__":
    sys.exit(main())
