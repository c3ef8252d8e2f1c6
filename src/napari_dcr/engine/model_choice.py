"""The model that ``model="auto"`` selects for an image, and the reason for it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

AUTO = "auto"

PHOTO, MICROSCOPY = "photo", "microscopy"

PICTURES = {
    *(".png", ".jpg", ".jpeg", ".bmp", ".webp", ".heic", ".heif", ".hif", ".avif", ".jxl", ".exr"),
    *(".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".dng"),
    *(".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".gif", ".y4m"),
}
"""Suffixes of pictures, camera raw and video; files of all other formats may hold measurements."""

IN_COLOUR = "the image is in colour"
A_PICTURE = "the file is a picture or a video"
MEASURED = "the file holds measurements"
GREY = (
    "the image is grey and does not come from a picture or video file, so its intensities are"
    " kept; to brighten a grey picture, choose photo"
)


def is_picture(path: str | Path) -> bool:
    """Whether the suffix of a path is that of a picture or a video."""
    return Path(path).suffix.lower() in PICTURES


class ModelChoice(NamedTuple):
    """A model, and why it was chosen.

    Attributes
    ----------
    model : str or Path
        A shipped name or the path of a ``.safetensors`` file.
    reason : str
        Reason of an automatic choice; empty if the user has chosen the model.
    """

    model: str | Path
    reason: str = ""

    def __str__(self) -> str:
        """The choice in one line."""
        return f"model {self.model}" + (f", because {self.reason}" if self.reason else "")


def choose_model(
    model: str | Path, *, in_colour: bool, is_picture: bool, is_measured: bool = False
) -> ModelChoice:
    """Choose the model for an image.

    Parameters
    ----------
    model : str or Path
        Value of the option ``model``.
    in_colour : bool
        Whether the image has red, green and blue samples.
    is_picture : bool
        Whether the image comes from a file in a format of pictures or videos.
    is_measured : bool
        Whether it comes from a file that holds measurements, such as FITS.

    Examples
    --------
    >>> print(choose_model("auto", in_colour=True, is_picture=False))
    model photo, because the image is in colour
    >>> print(choose_model("photo", in_colour=False, is_picture=False))
    model photo
    """
    if model != AUTO:
        return ModelChoice(model)
    if is_measured:
        return ModelChoice(MICROSCOPY, MEASURED)
    if in_colour:
        return ModelChoice(PHOTO, IN_COLOUR)
    if is_picture:
        return ModelChoice(PHOTO, A_PICTURE)
    return ModelChoice(MICROSCOPY, GREY)
