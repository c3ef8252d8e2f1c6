"""Options of an enhancement, with their defaults and limits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_dcr.image.axes import is_integer
from napari_dcr.image.defects import Defects
from napari_dcr.image.intensity import DTYPES, InputRange, check_input_range
from napari_dcr.image.noise_model import NoiseModel, check_noise

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

DENOISE_FIRST = ("auto", "on", "off")

NEIGHBOURS = ("auto", 0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of an enhancement.

    Attributes
    ----------
    model : str or Path
        ``"photo"`` brightens pictures for viewing, ``"microscopy"`` removes noise and keeps
        intensities. ``"auto"`` selects `photo` for images in colour and for files of picture and
        video formats, and `microscopy` for all other arrays and files; the record of the result
        says which and why. Also the path of a ``.safetensors`` file.
    depth : int, optional
        Number of sub-U-Nets to run.  0 applies the global tone curve only, None runs all of them.
    detail : bool
        Whether to run the regional part of the detail modules.
    strength : float
        Weight of the enhancement, between 0 and 1.  0 returns the input with its sensor defects
        corrected, 1 the enhanced image.
    exposure : float
        Additional brightening of the enhanced image in stops (EV), between -4 and 4.  For
        `microscopy` it is a gain of ``2 ** exposure`` on intensities above the black point.
    denoise : float
        Share of the removable noise to remove, between 0 and 1.  With 0 the image is only
        brightened, as at depth 0.
    denoise_colour : float, optional
        The same for colour noise alone, for users who want to remove colour blotches but keep
        the grain.  None uses the value of ``denoise``.  Only for `photo`, like ``saturation``.
    saturation : float
        Saturation of the result, between 0 and 2: 0 gives grey, 1 the natural colours.
    denoise_first : {"auto", "on", "off"}
        For `photo`: remove white noise with the `microscopy` network before the image is
        brightened. "auto" does so for grey images whose noise is independent from pixel to
        pixel and exceeds 20 % of the mean level, such as raw frames of a camera in little
        light; "on" does it in any case, colour by colour, and takes about three times as
        long (grey) or ten times (colour). At depth 0 the image is only brightened.
    defects : {"auto", "off"}, Defects or path
        Correction of sensor defects before the enhancement: offsets of columns and rows, hot and
        dead pixels.  "auto" estimates them once from the whole image and corrects those that are
        significant.  A `napari_dcr.Defects`, or the path of an ``.npz`` file that one was saved
        to, is applied as given, to the pixels in the order in which a file stores them.
    noise : NoiseModel, optional
        Noise model of the camera in the image's units, for `microscopy`; for example from
        `napari_dcr.calibrate_noise`.  None estimates the noise from the image.
    neighbours : {"auto", 0, 1, 2}
        Number of frames on each side that help to remove the noise of a frame.  They are aligned
        by whole pixels, and are left out wherever they do not match the frame.  With `photo`, the
        rest is averaged before the picture is brightened.  "auto" uses none, because short weak
        transients lose part of their amplitude.
    neighbour_axis : str, optional
        Letter of the axis along which frames are neighbours.  None uses t, or z if there is no t.
    axes : str, optional
        One letter per axis: y, x, s for colour samples, c for channels.  Each plane of all other
        axes is enhanced by itself, or with the help of its ``neighbours``.
    channel_axis : int, optional
        Index of the axis of independent channels.
    rgb : bool, optional
        Whether the last axis holds colour samples; None guesses it from the length of the axis.
    input_range : {"auto", "dtype"} or (float, float)
        Black and white point, see `napari_dcr.image.intensity.find_scale`.  `microscopy` only
        uses the black point, which is the camera's offset; "auto" uses the darkest level of
        the image.
    nodata : float, optional
        Value of pixels that hold no data, such as -9999.  None uses the value that the image
        itself defines, such as ``GDAL_NODATA`` in a TIFF.  These pixels are treated like pixels
        that are NaN or masked: statistics ignore them, and they are returned unchanged.  In a
        colour image all samples must have the value.
    link_frames : bool
        Use the same tone curve for every frame of a stack, so that brightness does not flicker.
        With False, each frame gets a separate tone curve.
    output : str
        ``"same"`` for the input's dtype and units, or the name of a dtype whose full range (0 to
        1 for floats) the range from black to white is mapped to.  `microscopy` keeps the units
        in any dtype, and refuses those that would clip more than 1 % of the pixels.
    tile : int or "auto"
        Side of the tiles in pixels, at least 64; "auto" chooses it from the free memory.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    precision : {"auto", "fp32", "bf16", "fp16"}
        Precision of the convolutions.  "auto" uses a faster one than fp32 for 8-bit results, if
        the device computes it correctly.
    return_report, return_residual, return_uncertainty : bool
        Also return these results, for `microscopy`; see `enhance`.
    return_defects : bool
        Also return the corrected defects; see `enhance`.

    Raises
    ------
    ValueError, TypeError
        If a value is not allowed; the message names the argument, the given value and the
        allowed values.

    Examples
    --------
    >>> Options(depth=1, strength=0.5).depth
    1
    >>> Options(strength=2)
    Traceback (most recent call last):
    ...
    ValueError: strength: got 2; allowed are numbers from 0 to 1
    """

    model: str | Path = "auto"
    depth: int | None = None
    detail: bool = True
    strength: float = 1.0
    exposure: float = 0.0
    denoise: float = 1.0
    denoise_colour: float | None = None
    saturation: float = 1.0
    denoise_first: str = "auto"
    defects: str | Path | Defects = "auto"
    noise: NoiseModel | None = None
    neighbours: str | int = "auto"
    neighbour_axis: str | None = None
    axes: str | None = None
    channel_axis: int | None = None
    rgb: bool | None = None
    input_range: InputRange = "auto"
    nodata: float | None = None
    link_frames: bool = True
    output: str = "same"
    tile: int | Literal["auto"] = "auto"
    device: str = "auto"
    precision: str = "auto"
    return_report: bool = False
    return_residual: bool = False
    return_uncertainty: bool = False
    return_defects: bool = False

    def __post_init__(self) -> None:
        # Store plain Python values, so that records of the options can be written as JSON.
        if not isinstance(self.model, (str, Path)):
            raise TypeError(
                f"model: got {self.model!r}; allowed is a name or the path of a .safetensors file"
            )
        if self.depth is not None:
            self._check_integer("depth", 0, "None")
        returns = ("return_report", "return_residual", "return_uncertainty", "return_defects")
        for name in ("detail", "link_frames", *returns):
            value = getattr(self, name)
            if not isinstance(value, (bool, np.bool_)):
                raise TypeError(f"{name}: got {value!r}; allowed are True and False")
            object.__setattr__(self, name, bool(value))
        self._check_number("strength", 0, 1)
        self._check_number("exposure", -4, 4)
        self._check_number("denoise", 0, 1)
        if self.denoise_colour is not None:
            self._check_number("denoise_colour", 0, 1, "None and ")
        self._check_number("saturation", 0, 2)
        if not isinstance(self.denoise_first, str) or self.denoise_first not in DENOISE_FIRST:
            raise ValueError(
                f"denoise_first: got {self.denoise_first!r}; allowed are"
                f" {', '.join(map(repr, DENOISE_FIRST))}"
            )
        object.__setattr__(self, "neighbours", _check_neighbours(self.neighbours))
        axis = self.neighbour_axis
        if axis is not None:
            if (
                not isinstance(axis, str)
                or len(axis) != 1
                or not axis.isalpha()
                or axis.lower() in "yxsc"
            ):
                raise ValueError(
                    f"neighbour_axis: got {axis!r}; allowed are None and the letter of an axis"
                    " beside y, x, colour and channel, such as 't' or 'z'"
                )
            object.__setattr__(self, "neighbour_axis", axis.lower())
        object.__setattr__(self, "defects", check_defects(self.defects))
        object.__setattr__(self, "noise", check_noise(self.noise))
        object.__setattr__(self, "input_range", check_input_range(self.input_range))
        if self.channel_axis is not None:
            if not is_integer(self.channel_axis):
                raise ValueError(
                    f"channel_axis: got {self.channel_axis!r}; allowed are None and integers"
                )
            object.__setattr__(self, "channel_axis", int(self.channel_axis))
        if self.rgb is not None:
            if not isinstance(self.rgb, (bool, np.bool_)):
                raise TypeError(f"rgb: got {self.rgb!r}; allowed are None, True and False")
            object.__setattr__(self, "rgb", bool(self.rgb))
        if self.nodata is not None:
            if isinstance(self.nodata, (bool, np.bool_)) or not isinstance(self.nodata, Real):
                raise TypeError(f"nodata: got {self.nodata!r}; allowed are None and numbers")
            try:
                object.__setattr__(self, "nodata", float(self.nodata))
            except OverflowError:
                raise ValueError(
                    "nodata: got an integer beyond the range of float64; allowed are None and numbers"
                ) from None
        if isinstance(self.output, np.dtype):
            object.__setattr__(self, "output", self.output.name)
        if not isinstance(self.output, str) or self.output not in ("same", *DTYPES):
            raise ValueError(
                f"output: got {self.output!r}; allowed are 'same', {', '.join(map(repr, DTYPES))}"
            )
        if not (isinstance(self.tile, str) and self.tile == "auto"):
            self._check_integer("tile", 64, "'auto'")
        if not isinstance(self.device, str):
            raise TypeError(
                f"device: got {self.device!r}; allowed is a string such as 'auto' or 'cpu'"
            )
        if not isinstance(self.precision, str) or self.precision not in PRECISIONS:
            raise ValueError(
                f"precision: got {self.precision!r}; allowed are {', '.join(map(repr, PRECISIONS))}"
            )

    def _check_integer(self, name: str, low: int, otherwise: str) -> None:
        value = getattr(self, name)
        if not is_integer(value) or value < low:
            raise ValueError(
                f"{name}: got {value!r}; allowed are {otherwise} and integers from {low}"
            )
        object.__setattr__(self, name, int(value))

    def _check_number(self, name: str, low: float, high: float, otherwise: str = "") -> None:
        value = getattr(self, name)
        allowed = f"allowed are {otherwise}numbers from {low} to {high}"
        number: Any = value  # `Real` does not define comparisons with float
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
            raise TypeError(f"{name}: got {value!r}; {allowed}")
        if not low <= number <= high:  # an integer may be too large for a float
            raise ValueError(f"{name}: got {value!r}; {allowed}")
        object.__setattr__(self, name, float(value))

    def to_dict(self) -> dict[str, Any]:
        """Options as plain values, for records or as keyword arguments of `enhance`."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        defects = self.defects
        named = {"sha256": defects.sha256} if isinstance(defects, Defects) else str(defects)
        noise = self.noise and self.noise.to_dict()
        return {**values, "model": str(self.model), "defects": named, "noise": noise}


def parse_noise(text: str) -> NoiseModel:
    """Parse the option ``noise`` from ``"GAIN,OFFSET,READ"``, the figures on camera data sheets."""
    return NoiseModel.parse(text)


def parse_neighbours(text: str) -> str | int:
    """Parse the option ``neighbours`` from text; `Options` checks the value."""
    return int(text) if text.isdecimal() else text


def _check_neighbours(value: object) -> str | int:
    if value == "auto" and isinstance(value, str):
        return value
    if is_integer(value) and value in NEIGHBOURS:
        return int(value)
    raise ValueError(f"neighbours: got {value!r}; allowed are {', '.join(map(repr, NEIGHBOURS))}")


def check_defects(value: object) -> str | Path | Defects:
    """Validate the argument ``defects``.

    Raises
    ------
    TypeError, ValueError
        If it is neither "auto", "off", the path of an ``.npz`` file nor `Defects`.
    """
    if isinstance(value, Defects) or (isinstance(value, str) and value in ("auto", "off")):
        return value
    if isinstance(value, (str, Path)) and Path(value).suffix.lower() == ".npz":
        return value
    kind = ValueError if isinstance(value, (str, Path)) else TypeError
    raise kind(
        f"defects: got {value!r}; allowed are 'auto', 'off', Defects, or the path of an .npz file"
        " that Defects.save wrote"
    )
