"""Warnings about an input: what was left alone, or read in a way that the caller did not ask for."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class InputWarning(UserWarning):
    """Part of an input was left alone, or was read in a way that the caller did not ask for.

    Every such warning is also in the list ``record["warnings"]`` of the result and, for
    models that keep intensities, a line of the report.

    Examples
    --------
    Treat these warnings as errors in a script that must not go on with a doubtful result:

    >>> import warnings
    >>> warnings.simplefilter("error", InputWarning)
    >>> warnings.resetwarnings()
    """


class InputWarnings:
    """The warnings about one image, each of them given once.

    An opened image has one of these (``opened.warnings``). Code that reads, surveys or
    enhances the image adds to it; the record of the result holds what was added.

    Examples
    --------
    >>> import warnings
    >>> found = InputWarnings()
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     found.add("t 3/5: every pixel is NaN; the frame is left as it is")
    ...     found.add("t 3/5: every pixel is NaN; the frame is left as it is")
    >>> len(caught), list(found)
    (1, ['t 3/5: every pixel is NaN; the frame is left as it is'])
    """

    def __init__(self) -> None:
        self._messages: dict[str, int | None] = {}

    @classmethod
    def gathered(cls, several: Iterable[InputWarnings]) -> InputWarnings:
        """Make one of the warnings about several images, which were given before."""
        made = cls()
        for each in several:
            made._messages.update(each._messages)
        return made

    def add(self, message: str, channel: int | None = None) -> None:
        """Give an `InputWarning`, unless the same message was given before.

        Parameters
        ----------
        message : str
            What it concerns (an argument, a channel or a frame), what was found, what was
            done about it, and where it helps, what to do next.
        channel : int, optional
            The channel that it concerns; all of them if None.
        """
        if message not in self._messages:
            self._messages[message] = channel
            warn(message)

    def of_channel(self, channel: int) -> list[str]:
        """Give the messages that concern a channel."""
        return [text for text, only in self._messages.items() if only in (None, channel)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


def warn(message: str) -> None:
    """Give an `InputWarning` that points at the line of the user's that called this package.

    Use `InputWarnings.add` where an opened image is at hand, so that the record has it too.
    """
    package = str(Path(__file__).parent) + os.sep
    if sys.version_info >= (3, 12):
        skipped: dict[str, Any] = {"skip_file_prefixes": (package,)}
    else:  # the number of frames to skip depends on who is calling
        skipped = {"stacklevel": _depth_within(package)}
    warnings.warn(message, InputWarning, **skipped)


def _depth_within(package: str) -> int:
    """Frames between `warn` and the first caller outside the package, both counted."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, depth = frame.f_back, depth + 1
    return depth
