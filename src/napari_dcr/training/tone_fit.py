"""Distillation of the layer that computes the tone curve, with targets that keep most curves.

The curve of a well-exposed picture is to be the identity. The targets of dim pictures in even light
are the photographs they were made of. Those of all other pictures are the results of the present
curve, so that they change little.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from napari_dcr.network.cascade import Cascade
from napari_dcr.network.tone import Tone
from napari_dcr.network.variance_stabilization import Counts
from napari_dcr.training.data import SPARSE, PhotoPairs, positions, thumbnail_of
from napari_dcr.training.head_fit import recorded_inputs
from napari_dcr.training.losses import luma

KEPT_WEIGHT, CHANGED_WEIGHT = 21.0, 12.0
"""Weights of thumbnails whose target is the picture itself, and of all others, in the tone curve's loss."""

FAR = 0.04
"""Error of the present curve, in display values, that halves the weight of such a thumbnail, because
the parameters of the curve cannot make up for a wrong judgement of the picture."""

PASSES, BATCH, RATE, ORDER_SEED = 24, 64, 2e-3, 1
"""Passes over the thumbnails, thumbnails per step, first learning rate, and seed of their order."""


@dataclass
class Thumbnails:
    """Thumbnails for the distillation of the tone curve.

    Attributes
    ----------
    summary, level : Tensor, shape (n, 64) and (n,)
        Input of ``tone_head``, and mean of the picture.
    picture, target : Tensor, shape (n, 3, h, w)
        Input of the curve, and its wanted result.
    kept : Tensor, shape (n,)
        Whether the target is the picture itself.
    weight : Tensor, shape (n,)
        Weight in the loss.
    """

    summary: Tensor
    level: Tensor
    picture: Tensor
    target: Tensor
    kept: Tensor
    weight: Tensor


def _printed(tone: Tone | Counts, x: Tensor) -> Tensor:
    return tone.picture(tone.base(x), x)


@torch.no_grad()
def tone_thumbnails(network: Cascade, pairs: PhotoPairs, count: int) -> Thumbnails:
    """Draw the thumbnails of the first ``count`` pairs, with targets from their present curves."""
    columns: list[list[Tensor]] = [[] for _ in dataclasses.fields(Thumbnails)]
    some = np.s_[:, :, 1::SPARSE, 1::SPARSE]  # a ninth of the pixels is enough for a curve
    decoder = network.global_net.decoder
    assert decoder is not None
    for index in range(count):
        photograph, scene, rng = pairs.scene(index)
        y, x = positions(*photograph.shape[:2])
        coarse, place = photograph[::SPARSE, ::SPARSE], (y[::SPARSE], x[:, ::SPARSE])
        dim = thumbnail_of(scene.expose(coarse, *place, rng, jpeg=False))[None]
        with (
            recorded_inputs(network.global_net.tone_head) as summaries,
            recorded_inputs(decoder) as parameters,
        ):
            tone = network.condition(dim).tone
        picture = dim[some]
        target = present = _printed(tone, picture)
        weight = torch.tensor([CHANGED_WEIGHT])
        if scene.kept:
            target = thumbnail_of(scene.print(coarse, *place))[None][some]
            error = (present - target).square().mean().sqrt()
            weight = KEPT_WEIGHT / (1 + (error / FAR) ** 2).reshape(1)
        elif not scene.shot.light.parted:
            target = thumbnail_of(scene.natural(coarse))[None][some]
        values = summaries[0][0], parameters[0][1], picture, target, torch.tensor([scene.kept])
        for column, value in zip(columns, (*values, weight), strict=True):
            column.append(value)
    return Thumbnails(*(torch.cat(column) for column in columns))


def distil_tone_head(network: Cascade, thumbnails: Thumbnails, passes: int = PASSES) -> Cascade:
    """Train the layer that computes the parameters of the tone curve, in a copy of the network.

    Examples
    --------
    >>> from napari_dcr.network.cascade import CascadeConfig
    >>> network = Cascade(CascadeConfig(stages=1, widths=(4, 4, 4), grid_channels=4)).eval()
    >>> drawings = PhotoPairs([], crop=96, length=2, seed=0, drawn=1.0)
    >>> fitted = distil_tone_head(network, tone_thumbnails(network, drawings, 2), passes=1)
    >>> bool((fitted.global_net.tone_head.bias != network.global_net.tone_head.bias).any())
    True
    """
    result = copy.deepcopy(network)
    net, data = result.global_net, thumbnails
    assert net.decoder is not None
    parameters = list(net.tone_head.requires_grad_(True).parameters())
    optimiser = torch.optim.Adam(parameters, RATE)
    order, count = torch.Generator().manual_seed(ORDER_SEED), len(data.level)
    steps, step = passes * max(1, count // BATCH), 0
    for _ in range(passes):
        for some in torch.randperm(count, generator=order).split(BATCH):
            optimiser.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            tone = net.decoder(net.tone_head(data.summary[some]), data.level[some])
            error = _printed(tone, data.picture[some]) - data.target[some]
            distance = (error.square() + 1e-6).sqrt().mean((1, 2, 3))
            brighter = luma(error).mean((1, 2, 3)).abs() * ~data.kept[some]
            loss = (data.weight[some] * distance + brighter).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
    return result
