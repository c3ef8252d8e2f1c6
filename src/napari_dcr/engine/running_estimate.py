"""Running estimate for a stream of frames: when to survey it, and how to follow without flicker."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.image.intensity import Scale
from napari_dcr.network.global_net import Conditioning, NoiseStage
from napari_dcr.network.isolation import isolated

KEPT = 4
"""Number of frames from which sensor defects are estimated."""

SPACING = 2
"""Number of frames between two that are kept."""

EARLY = (1, 3, 8)
"""Frames after the beginning, or after a change of the light, at which surveys begin."""

EVERY = 16
"""Number of frames between two surveys later."""

CHANGE = 0.1
"""Relative change of the level above black at which the light counts as changed."""

CERTAIN = 6.0
"""Smallest change of the light in standard errors of the level."""

LEAST_SHARE = 0.25
"""Smallest weight of a new survey in the estimate."""

SPEED = 0.125
"""Share of the distance to the estimate that each frame covers: about a second at 30 frames a second."""


class Schedule:
    """Decides at which frames a stream is surveyed, and keeps the frames for it.

    Attributes
    ----------
    finds_defects : bool
        Whether the next survey estimates the sensor defects.
    share : float
        Weight of the next survey.
    """

    def __init__(self) -> None:
        self._frames: deque[NDArray[Any]] = deque(maxlen=KEPT)
        self._count = self._since = self._surveys = self._skipped = 0
        self._base = np.nan
        self._due = False
        self.finds_defects, self.share = True, 1.0

    def add(self, frame: NDArray[Any], sample: NDArray[Any], black: float) -> bool:
        """Add the next frame; returns whether a survey must start.

        Parameters
        ----------
        frame : ndarray
        sample : ndarray
            Some of its pixels, from which the level is computed.
        black : float
            Current estimate of the level of black.
        """
        self._count += 1
        self._since += 1
        level, error = _level(sample)
        if self._has_changed(level, error, black):
            self._since, self._surveys, self._base = 1, 0, level
        elif np.isfinite(level):
            known = np.isfinite(self._base)
            self._base += (level - self._base) / min(self._since, EVERY) if known else 0.0
            self._base = self._base if known else level
        if self._count % SPACING == 1:
            self._frames.append(np.ma.copy(frame) if np.ma.isMA(frame) else frame.copy())
        self._due = self._due or self._since in EARLY or self._since % EVERY == 0
        return self._due

    def take(self, frame: NDArray[Any]) -> list[NDArray[Any]]:
        """Frames to survey now, of which the last is the given one."""
        self._due = False
        count = self._count
        # Defects belong to the sensor and do not change, so the intervals between estimates grow.
        self.finds_defects = count in EARLY or (count >= EVERY and (count & (count - 1)) == 0)
        self.share = max(LEAST_SHARE, 1 / (1 + self._surveys))
        self._surveys += 1
        if self.finds_defects and len(self._frames) == KEPT:
            return list(self._frames)
        return [np.ma.copy(frame) if np.ma.isMA(frame) else frame.copy()]

    def _has_changed(self, level: float, error: float, black: float) -> bool:
        if not (np.isfinite(level) and np.isfinite(self._base)):
            return False
        change = abs(level - self._base)
        light = max(self._base - black, 0.0)
        return bool(change > CHANGE * light and change > CERTAIN * error)


def _level(sample: NDArray[Any]) -> tuple[float, float]:
    """Mean of a sample and its standard error; NaN if no pixel of it holds data."""
    values = np.ma.compressed(sample) if np.ma.isMA(sample) else sample
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not values.size:
        return np.nan, np.nan
    mean = float(values.mean(dtype=np.float64))
    return mean, float(values.std(dtype=np.float64)) / values.size**0.5


class RunningEstimate:
    """Conditioning of one channel that follows the surveys gradually.

    Attributes
    ----------
    current : GroupConditioning
        What the next frame is enhanced with.
    """

    current: GroupConditioning

    def __init__(self) -> None:
        self._target: GroupConditioning | None = None
        self._pending: object = None

    def learn(self, found: GroupConditioning, share: float, finds_defects: bool) -> None:
        """Add the result of a survey.

        Parameters
        ----------
        found : GroupConditioning
        share : float
            Its weight.
        finds_defects : bool
            Whether its sensor defects replace the known ones.
        """
        target = self._target
        if target is None:
            self._target = self.current = found
            return
        if not finds_defects:
            found = found._replace(defects=target.defects)
        if _kind(found) == _kind(target):
            self._pending = None
            self._target = blended(target, found, share)
        elif self._pending == _kind(found):  # a second survey confirms the change
            self._pending = None
            self._target = self.current = found
        else:
            self._pending = _kind(found)

    def advance(self) -> None:
        """Bring the conditioning of the next frame nearer to the estimate."""
        assert self._target is not None
        if self.current is not self._target:
            self.current = blended(self.current, self._target, SPEED)


def _kind(shared: GroupConditioning) -> object:
    """Parts of a conditioning that cannot change gradually."""
    return shared.route, bool(shared.left_alone)


def blended(old: GroupConditioning, new: GroupConditioning, share: float) -> GroupConditioning:
    """Mean of two conditionings of one kind, of which the second has the given weight."""
    black, white = (
        a + share * (b - a)
        for a, b in ((old.scale.black, new.scale.black), (old.scale.white, new.scale.white))
    )
    with isolated(new.conditioning.grid.device), torch.inference_mode():
        conditioning = _blended(old.conditioning, new.conditioning, share)
    light = old.light + share * (new.light - old.light)
    return new._replace(scale=Scale(black, white), conditioning=conditioning, light=light)


def _blended(old: Conditioning, new: Conditioning, share: float) -> Conditioning:
    tone = type(new.tone)(
        *(torch.lerp(a, b, share) for a, b in zip(old.tone, new.tone, strict=True))
    )
    noise = new.noise
    if noise is not None and old.noise is not None:
        colours = zip(old.noise.colours, noise.colours, strict=True)
        noise = NoiseStage(
            torch.lerp(old.noise.factor, noise.factor, share),
            torch.lerp(old.noise.offset, noise.offset, share),
            torch.lerp(old.noise.share, noise.share, share),
            tuple(b if a is None or b is None else _blended(a, b, share) for a, b in colours),
        )
    return new._replace(tone=tone, grid=torch.lerp(old.grid, new.grid, share), noise=noise)
