"""Warnings about an input: parts that were not enhanced, or were read in an unexpected way."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


class InputWarning(UserWarning):
    """Warning that part of an input was not enhanced, or was read in an unexpected way.

    Every such warning is also in the list ``record["warnings"]`` of the result and, for
    models that keep intensities, a line of the report.

    Examples
    --------
    Treat these warnings as errors in a script that must not continue with a doubtful result:

    >>> import warnings
    >>> warnings.simplefilter("error", InputWarning)
    >>> warnings.resetwarnings()
    """


class InputWarnings:
    """Collection of the warnings about one image, each of which is issued once.

    Every opened image has one as ``opened.warnings``.  Code that reads, surveys or enhances the
    image adds to it, and the record of the result lists its messages.

    Examples
    --------
    >>> import warnings
    >>> collected = InputWarnings()
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     collected.add("t 3/5: every pixel is NaN; the frame is left as it is")
    ...     collected.add("t 3/5: every pixel is NaN; the frame is left as it is")
    >>> len(caught), list(collected)
    (1, ['t 3/5: every pixel is NaN; the frame is left as it is'])
    """

    def __init__(self) -> None:
        self._messages: dict[str, int | None] = {}

    @classmethod
    def gathered(cls, several: Iterable[InputWarnings]) -> InputWarnings:
        """Combine the warnings about several images, which have already been issued."""
        made = cls()
        for each in several:
            made._messages.update(each._messages)
        return made

    def add(self, message: str, channel: int | None = None) -> None:
        """Issue an `InputWarning`, unless the same message has been added before.

        Parameters
        ----------
        message : str
            Text that names the argument, channel or frame, what was found, what was done about
            it and, if there is something to do, the next step.
        channel : int, optional
            Channel that the message concerns; None for all channels.
        """
        if message not in self._messages:
            self._messages[message] = channel
            warn(message)

    def of_channel(self, channel: int) -> list[str]:
        """Messages that concern a channel."""
        return [text for text, only in self._messages.items() if only in (None, channel)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)


def warn(message: str) -> None:
    """Issue an `InputWarning` that points to the user's line that called this package.

    Where an opened image is available, use `InputWarnings.add` instead, so that the record of the
    result lists the message too.
    """
    package = str(Path(__file__).parent) + os.sep
    if sys.version_info >= (3, 12):
        skipped: dict[str, Any] = {"skip_file_prefixes": (package,)}
    else:  # the number of stack frames to skip depends on the caller
        skipped = {"stacklevel": _depth_within(package)}
    warnings.warn(message, InputWarning, **skipped)


def _depth_within(package: str) -> int:
    """Number of stack frames from `warn` to the first caller outside the package, inclusive."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, depth = frame.f_back, depth + 1
    return depth
