"""Prepare the mean of matching frames of a moving picture: its noise, and the colour to compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_dcr.engine.group_conditioning import GroupConditioning
from napari_dcr.engine.neighbours import Frame, FrameAxis, FrameMatches
from napari_dcr.engine.planes import ArrayPlane
from napari_dcr.image.frame_noise import noise_of_pairs
from napari_dcr.image.frame_shifts import whole_pixels
from napari_dcr.image.intensity import Scale
from napari_dcr.image.noise_model import NoiseEstimate
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.frame_mean import BINNING
from napari_dcr.network.global_net import Conditioning, FrameMean, NoiseStage
from napari_dcr.network.isolation import isolated

PAIRS = 4
"""Largest number of pairs of frames from which the noise of a group is estimated."""

WINDOW = 128
"""Largest side in pixels of the windows of a frame from which the noise is estimated, two along each axis."""

Windows = tuple[NDArray[Any], NDArray[Any]]
"""The same window of two frames in display values, (C, h, w)."""


def sampled_pairs(axis: FrameAxis, frames: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    """Pairs of successive frames, spread evenly over a group; for a single frame, those on both sides.

    Examples
    --------
    >>> axis = FrameAxis("t", 0, 9, 2)
    >>> sampled_pairs(axis, [(n,) for n in range(9)])
    [((0,), (1,)), ((2,), (3,)), ((5,), (6,)), ((7,), (8,))]
    >>> sampled_pairs(axis, [(4,)])
    [((3,), (4,)), ((4,), (5,))]
    """
    if len(frames) == 1:
        place = frames[0][axis.place]
        frames = [axis.at(frames[0], n) for n in (place - 1, place) if n >= 0]
    starts = [frame for frame in frames if frame[axis.place] + 1 < axis.length]
    if not starts:
        return []
    places = np.linspace(0, len(starts) - 1, PAIRS).round().astype(int).tolist()
    chosen = [starts[n] for n in dict.fromkeys(places)]
    return [(frame, axis.at(frame, frame[axis.place] + 1)) for frame in chosen]


def windows_of_pair(
    axis: FrameAxis,
    pair: tuple[Frame, Frame],
    channel: int,
    plane_of: Callable[[Frame], ArrayPlane],
    matches: FrameMatches,
) -> list[Windows]:
    """Read windows of two frames in display values, aligned and scaled; none if they do not match.

    Parameters
    ----------
    axis : FrameAxis
    pair : (tuple of int, tuple of int)
        Indices of the frames.
    channel : int
    plane_of : callable
        Returns the plane of a frame.
    matches : FrameMatches
    """
    first, second = (plane_of(frame) for frame in pair)
    here, there = (frame[axis.place] for frame in pair)
    series = channel, axis.series(pair[0])
    match = matches.between(series, here, there, {here: first, there: second})
    if match is None or first.is_left_alone or second.is_left_alone:
        return []
    shift, level = whole_pixels(match.shift, (1, 1)), match.level.between(first.scale, second.scale)
    found = []
    for rows in _parts(first.area[0], second.area[0], shift[0]):
        for columns in _parts(first.area[1], second.area[1], shift[1]):
            one = _display(first, rows, columns)
            other = _display(second, _moved(rows, shift[0]), _moved(columns, shift[1]))
            found.append((one, (other - level.addend) / level.ratio))
    return found


def _parts(first: tuple[int, int], second: tuple[int, int], shift: int) -> Iterator[slice]:
    """Parts of the first frame along an axis that are in the second frame, too."""
    start, stop = max(first[0], second[0] - shift), min(first[1], second[1] - shift)
    if stop - start <= 2 * WINDOW:
        yield slice(start, max(start, stop))
        return
    for middle in (0.25, 0.75):
        begin = round(start + middle * (stop - start) - WINDOW / 2)
        yield slice(begin, begin + WINDOW)


def _moved(span: slice, shift: int) -> slice:
    return slice(span.start + shift, span.stop + shift)


def _display(plane: ArrayPlane, rows: slice, columns: slice) -> NDArray[Any]:
    own = np.asarray(np.ma.filled(plane.read(rows, columns)[: plane.colours].astype(float), np.nan))
    return np.asarray(plane.scale.to_working(own), np.float64)


def frame_mean(
    pairs: Sequence[Sequence[Windows]],
    shared: GroupConditioning,
    network: Cascade,
    device: torch.device,
) -> FrameMean | None:
    """Prepare the mean of matching frames; None if the noise of no colour can be estimated.

    Parameters
    ----------
    pairs : sequence
        Windows of each pair of frames, from `windows_of_pair`.
    shared : GroupConditioning
        Conditioning for the network for pictures.
    network : Cascade
        The noise network.
    device : torch.device
    """
    assert shared.thumbnail is not None
    thumbnail = shared.scale.to_working(shared.thumbnail)
    count = 1 if shared.is_grey else len(thumbnail)
    noise = [_noise([[(a[c], b[c]) for a, b in pair] for pair in pairs]) for c in range(count)]
    signals: dict[int, float] = {}
    factor, offset = [1.0] * count, [0.0] * count
    colours: list[Conditioning | None] = [None] * count
    for colour, estimate in enumerate(noise):
        if estimate is None:
            continue
        down, across = (max(n, BINNING) for n in estimate.binning)
        model = estimate.binned.scaled(math.prod(estimate.binning) / (down * across))
        mean = float(thumbnail[colour].mean())
        signals[colour] = (mean - model.offset) / float(model.deviation(mean))
        factor[colour], offset[colour] = 1 / model.unit, -model.offset / model.unit
        scale = Scale(model.offset, model.offset + model.unit)
        batch = np.asarray(scale.to_working(thumbnail[colour]), np.float32)[None, None]
        with isolated(device), torch.inference_mode():
            curvature = torch.tensor([model.curvature], dtype=torch.float32, device=device)
            found = network.condition(torch.from_numpy(batch).to(device), curvature)
        colours[colour] = found._replace(binning=(down, across))
    if not signals:
        return None
    noise_stage = NoiseStage.of(factor, offset, colours, device)
    return FrameMean(noise_stage, max(signals, key=signals.__getitem__))


def _noise(pairs: Sequence[Sequence[Windows]]) -> NoiseEstimate | None:
    """Noise of a colour; None if there is nothing to measure it by."""
    try:
        found = noise_of_pairs(pairs)
    except ValueError:
        return None
    return found if found.blocks else None
