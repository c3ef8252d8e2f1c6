"""The arguments of the shell command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping

from napari_dcr.io import formats
from napari_dcr.io.jobs import parse_scene
from napari_dcr.options import DENOISE_FIRST, PRECISIONS, Options, parse_neighbours, parse_noise
from napari_dcr.version import __version__

EXAMPLES = """examples:
  napari-dcr enhance night.jpg -o bright.jpg
      brighten a photograph
  napari-dcr enhance cells.ome.tif -o clean.ome.tif --model microscopy --report report.json
      remove the noise of a fluorescence image, keep its intensities, and write a report
  napari-dcr enhance recordings/ -o bright/ --axes tyx --depth 1
      enhance all recordings of a folder (axes time, y, x) with light, faster cleaning
"""


def parser(
    commands_by_name: Mapping[str, Callable[[argparse.Namespace], int]],
) -> argparse.ArgumentParser:
    """Create the parser of the command line.

    Parameters
    ----------
    commands_by_name : mapping
        Function of each command; the parsed arguments hold it as ``run``.
    """
    parser = argparse.ArgumentParser(
        prog="napari-dcr", description="Brighten and denoise low-light images."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    info = commands.add_parser("info", help="print versions, platform, devices, weights and extras")
    info.set_defaults(run=commands_by_name["info"])

    enhance = commands.add_parser(
        "enhance",
        help="enhance image files",
        # The list of all options would hide the error below it.
        usage="%(prog)s [OPTIONS] IN [IN ...] -o OUT",
        description=f"Enhance {', '.join(formats.SUFFIXES)} files, or all of them in folders, and zarr"
        " arrays and OME-Zarr images. Large .zarr and .tif files are processed tile by tile.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # Before Python 3.14, argparse takes -1,100,2 and -1e30 for options. No option begins like this.
    enhance._negative_number_matcher = re.compile(r"-(\.?\d|inf\b|nan\b)", re.IGNORECASE)
    enhance.set_defaults(run=commands_by_name["enhance"])
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
    add("--overwrite", action="store_true", help="replace existing results")
    add("--resume", action="store_true", help="continue an interrupted .zarr output")
    add(
        "--model", default=Options.model,
        help="photo: brighten and clean pictures for viewing; microscopy: remove noise and keep"
        " intensities; auto: photo for images in colour and for picture and video files, microscopy"
        " for all others; or the path of a .safetensors file (default: auto)",
    )  # fmt: skip
    add(
        "--depth", type=int, default=Options.depth,
        help="how many stages of cleaning to run, 0 to 3; 0 removes no noise (default: all)",
    )  # fmt: skip
    add(
        "--detail", action=argparse.BooleanOptionalAction, default=Options.detail,
        help="preserve fine detail (default: yes)",
    )  # fmt: skip
    add(
        "--strength", type=float, default=Options.strength,
        help="mix the input (0) with its enhancement (1) (default: 1)",
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
        "--denoise-only", action="store_true",
        help="denoise camera raw files in linear light without brightening them, and write .dng files"
        " for your raw developer",
    )  # fmt: skip
    add(
        "--denoise-colour", type=float, default=Options.denoise_colour, metavar="DENOISE",
        help="how much of the colour noise to remove, from 0 to 1 (photo only; default: as --denoise)",
    )  # fmt: skip
    add(
        "--saturation", type=float, default=Options.saturation,
        help="strength of the colours, from 0 (grey) to 2 (photo only; default: 1)",
    )  # fmt: skip
    add(
        "--denoise-first", choices=DENOISE_FIRST, default=Options.denoise_first,
        help="remove white noise before brightening (photo only): auto does so for noisy grey"
        " frames, on always does so and takes up to ten times longer (default: auto)",
    )  # fmt: skip
    add(
        "--defects", default=Options.defects, metavar="WHICH",
        help="offsets of columns and rows, and hot pixels: auto finds and corrects them, off leaves"
        " them unchanged, and an .npz file that napari_dcr.Defects.save wrote corrects the defects in"
        " it (default: auto)",
    )  # fmt: skip
    add(
        "--noise", type=_noise, default=Options.noise, metavar="GAIN,OFFSET,READ",
        help="the camera's noise for microscopy, if you know it: units per electron, units without"
        " light, read noise in electrons, such as 2.2,100,1.4 (default: estimated from the image)",
    )  # fmt: skip
    add(
        "--neighbours", type=parse_neighbours, default=Options.neighbours, metavar="FRAMES",
        help="number of frames on each side that help to remove the noise of a frame: 0, 1 or 2; auto"
        " uses none, because short weak transients lose part of their amplitude (default: auto)",
    )  # fmt: skip
    add(
        "--neighbour-axis", default=Options.neighbour_axis, metavar="AXIS",
        help="axis along which frames are neighbours (default: t, or z if there is no t)",
    )  # fmt: skip
    add(
        "--axes", default=Options.axes,
        help="one letter per axis: y, x, t (time), z (planes), c (channels), s (colour samples), such"
        " as tyx (default: from the file)",
    )  # fmt: skip
    add(
        "--scene", type=parse_scene, metavar="SCENE",
        help="image to enhance in files that contain several: its number, starting from 0, or its name",
    )  # fmt: skip
    add(
        "--as-one", metavar="AXIS",
        help="enhance all files as one recording, joined along this axis, such as t, in the order of"
        " their names; noise, defects and tone curve are estimated once for all. OUT is one file, or"
        " a folder for one result per file",
    )  # fmt: skip
    add(
        "--quality", type=int, metavar="PERCENT",
        help=f"quality of results in {', '.join(formats.WITH_QUALITY)}, from 0 to 100 (default: 70 for"
        " videos, 95 for pictures); the other formats are lossless",
    )  # fmt: skip
    add(
        "--input-range", type=_input_range, default=Options.input_range, metavar="RANGE",
        help="black and white point: auto, dtype, or BLACK,WHITE (default: auto)",
    )  # fmt: skip
    add(
        "--nodata", type=float, default=Options.nodata, metavar="VALUE",
        help="value of pixels without data, such as -9999 (default: from the file)",
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
        help="number format used for computing; auto uses a faster one than fp32 for 8-bit results"
        " (default: auto)",
    )  # fmt: skip
    add(
        "--report", metavar="FILE",
        help="write options, warnings and, for microscopy, quality measures of every result to a .json file",
    )  # fmt: skip
    add(
        "--json", action="store_true",
        help="write the contents of --report to standard output, one JSON object per line, as each file"
        " is finished",
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
