"""Describe how far a survey is, for display."""

from __future__ import annotations

import time

from napari_dcr.engine.progress_bar import duration

LONG = 5.0
"""Seconds from which the remaining time of a pass is shown."""


class Pass:
    """One pass over the blocks of some planes.

    Parameters
    ----------
    action : str
        What the pass does.
    planes, blocks : int
        Number of planes, and of blocks of each plane.
    sampled : bool
        Whether the planes are a sample of the frames of a recording.

    Examples
    --------
    >>> frames = Pass("Analysing the image", 40, 2)
    >>> frames.describe(7)
    'Analysing the image: frame 4 of 40'
    >>> Pass("Analysing the image", 1, 30).describe(6)
    'Analysing the image: 20 %'
    """

    def __init__(self, action: str, planes: int, blocks: int = 1, sampled: bool = False) -> None:
        self._action, self._planes, self._blocks = action, planes, blocks
        self._word = "sampled frame" if sampled else "frame"
        self._started = time.monotonic()

    def describe(self, done: int) -> str:
        """Describe the pass after this number of finished blocks."""
        total = self._planes * self._blocks
        if total <= 1:
            return f"{self._action}..."
        text = f"{100 * done // total} %"
        if self._planes > 1:
            text = f"{self._word} {-(-done // self._blocks)} of {self._planes}"
        seconds = time.monotonic() - self._started
        if done and seconds > LONG:
            text += f", {duration(seconds * (total / done - 1))} left"
        return f"{self._action}: {text}"
