"""A network and that of its noise stage on a device: halos, memory use, and enhancement of windows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch

from napari_dcr.engine import devices
from napari_dcr.engine.neighbours import Alignment
from napari_dcr.engine.tiles import Grid, Size
from napari_dcr.image.frame_levels import UNCHANGED
from napari_dcr.image.frame_shifts import FARTHEST
from napari_dcr.network import frame_mean
from napari_dcr.network.binning import binned_features, fuse_binned
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.frame_mean import PictureFeatures, mean_of_frames, picture_features
from napari_dcr.network.global_net import PLAIN, Conditioning, Route
from napari_dcr.network.neighbours import FrameFeatures
from napari_dcr.network.noise_stage import enhance_window
from napari_dcr.network.variance_stabilization import Counts

BINNED_BYTES = 40
"""Bytes per pixel of a binned window: for the window, its local means and the subsampled images."""

FEATURE_BYTES = 100
"""Bytes per pixel of a window for the features of one frame, which neighbouring frames need."""

PICTURE_BYTES = 150
"""Bytes per pixel of a window of a picture for the features of one frame, with its colours."""

NOISE_BYTES = 40
"""Bytes per pixel of a window with a noise stage: for its colours before and after that stage."""


# Loaded weights do not change, and a copy takes a third of the time of a small image.
_placed = functools.lru_cache(maxsize=8)(Cascade.placed_on)
_converted = functools.lru_cache(maxsize=8)(Cascade.with_precision)

Features = tuple[FrameFeatures, ...] | PictureFeatures
"""Features of a window of a frame: one item for each picture into which binning divides it, or those of
a model that brightens."""


class Networks:
    """A network on a device, and the network of its noise stage.

    Parameters
    ----------
    network : Cascade
        Network in evaluation mode; it must not change afterwards, because networks on a device are
        kept and shared.
    device : torch.device
    precision : {"fp32", "bf16", "fp16"}
        Precision of the convolutions.  Tone curve and final combination are always fp32.
    depth : int
        Number of sub-U-Nets to run.
    detail : bool
        Whether to run the regional part of the detail modules.
    noise : callable, optional
        Returns the networks of the noise stage; called when the first window needs them.

    Attributes
    ----------
    network : Cascade
        Network on the device, in float32.
    local : Cascade
        The same network with its convolutions over pixels in ``precision``.
    """

    def __init__(
        self,
        network: Cascade,
        device: torch.device,
        precision: devices.Precision,
        depth: int,
        detail: bool,
        noise: Callable[[], Networks] | None = None,
    ) -> None:
        self.device, self.precision = device, precision
        self.depth, self.detail = depth, detail
        self.network = _placed(network, device)
        self.local = _converted(self.network, devices.torch_dtype(precision))
        self._find_noise = noise

    def grid(self, height: int, width: int, route: Route = PLAIN) -> Grid:
        """Tile grid for planes of this size, with the halo that the networks of a route need."""
        fuses = route.neighbours > 0 and route.mean is None
        halo, stride = self._reach(route.binning, self.depth, fuses)
        if halo and route.neighbours:
            halo += FARTHEST
        if self.depth and route.mean:
            reach, step = self._noise._reach(route.mean, frame_mean.DEPTH, True)
            halo, stride = halo + reach, math.lcm(stride, step)
        if self.depth and route.noise:
            depth = self._noise.depth
            stages = [self._noise._reach(binning, depth) for binning in route.noise if binning]
            halo += max((reach for reach, _ in stages), default=0)
            stride = math.lcm(stride, *(step for _, step in stages))
        return Grid(height, width, halo, stride, route)

    def _reach(self, binning: tuple[int, int], depth: int, neighbours: bool = False) -> Size:
        """Halo and stride of the network at a binning, also for frames with their neighbours."""
        most = max(binning)
        halo = self.network.receptive_field(depth, neighbours and depth > 0)
        return most * halo + most // 2 if halo else 0, most * self.network.stride

    @property
    def _noise(self) -> Networks:
        assert self._find_noise is not None
        return self._find_noise()

    def enhance(
        self,
        windows: torch.Tensor,
        conditioning: Conditioning,
        weights: tuple[torch.Tensor, torch.Tensor],
        depth: int,
        exits: Sequence[int],
        mean: torch.Tensor | None = None,
    ) -> list[torch.Tensor]:
        """Enhance windows of equal shape and route; returns the pictures at the depths ``exits``.

        ``mean`` is the mean of the window and matching frames, if it was computed.
        """
        noise_network = self._noise.local if conditioning.noise else None
        pictures = enhance_window(
            self.local,
            noise_network,
            windows,
            conditioning,
            weights,
            depth,
            self.detail,
            exits,
            mean,
        )
        return list(pictures)

    def features(
        self,
        window: torch.Tensor,
        conditioning: Conditioning,
        weights: tuple[torch.Tensor, torch.Tensor],
        depth: int,
        held: torch.Tensor | None = None,
    ) -> Features:
        """Features of a window of one frame at a depth, for itself and for its neighbours.

        ``held`` is 1 for pixels with data and 0 for others, which do not count in other frames; None
        if all have.
        """
        if conditioning.mean is not None:
            return picture_features(self._noise.local, window, conditioning.mean, weights, held)
        return binned_features(self.local, window, conditioning, weights, depth, self.detail, held)

    def fuse(
        self,
        centre: Features,
        neighbours: Sequence[tuple[Features, Alignment] | None],
        conditioning: Conditioning,
        depth: int,
        exits: Sequence[int],
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Enhance a window of a frame with the help of its neighbours.

        Parameters
        ----------
        centre : Features
        neighbours : sequence
            Features of the frames before and after it, each with its alignment, by a multiple of
            `shift_step`; None for a frame that is missing or does not match.
        conditioning : Conditioning
        depth : int
        exits : sequence of int
            Depths of the pictures of a model that brightens; other models return that of ``depth``.

        Returns
        -------
        list of Tensor
            Pictures.
        Tensor or None
            Number of frames that were averaged at each place, for a model that brightens.
        """
        if isinstance(centre, PictureFeatures):
            mean = conditioning.mean
            assert mean is not None
            others = [other and self._picture(*other, conditioning) for other in neighbours]
            found, frames = None, None
            if any(other is not None for other in others):
                found, frames = mean_of_frames(self._noise.local, centre, others, mean)
            pictures = self.enhance(centre.x, conditioning, centre.weights, depth, exits, found)
            return pictures, frames
        aligned = [other and self._all_aligned(*other, conditioning) for other in neighbours]
        return [fuse_binned(self.local, centre, aligned, conditioning)], None

    def _picture(
        self, features: Features, alignment: Alignment, conditioning: Conditioning
    ) -> PictureFeatures:
        """Features of a neighbour of a picture with the light and the place of that picture."""
        own, mean = alignment.conditioning.mean, conditioning.mean
        assert isinstance(features, PictureFeatures)
        assert own is not None
        assert mean is not None
        level = alignment.level or UNCHANGED
        if level != UNCHANGED or not own.has_noise_of(mean):
            features = features.scaled(level.ratio, level.addend, own, mean)
        return features.aligned(*alignment.shift, mean.colour.binning)

    def _all_aligned(
        self, features: Features, alignment: Alignment, conditioning: Conditioning
    ) -> tuple[FrameFeatures, ...]:
        """Features of a neighbour with the light and the place of the frame that it is combined with."""
        assert not isinstance(features, PictureFeatures)
        return tuple(self._aligned(each, alignment, conditioning) for each in features)

    def _aligned(
        self, features: FrameFeatures, alignment: Alignment, conditioning: Conditioning
    ) -> FrameFeatures:
        """As `_all_aligned`, for one of the pictures into which binning divides a window."""
        level, steps = alignment.level, self.shift_step(conditioning.route)
        if level is not None:
            stage, own, other = (
                self.local.neighbours,
                alignment.conditioning.tone,
                conditioning.tone,
            )
            assert stage is not None
            assert isinstance(own, Counts)
            assert isinstance(other, Counts)
            features = stage.scaled(features, level.ratio, level.addend, own, other)
        down, across = (n // step for n, step in zip(alignment.shift, steps, strict=True))
        return features.aligned(down, across)

    @staticmethod
    def shift_step(route: Route) -> Size:
        """Pixels along y and x of which shifts between frames are multiples."""
        return (1, 1) if route.mean else route.binning

    def bytes_per_pixel(self, route: Route) -> float:
        """Peak working memory per pixel of a window; with a noise stage, that of the larger network."""
        phases = math.prod(route.binning)
        needed = devices.bytes_per_pixel(self.network, self.precision) / phases
        if phases > 1:
            needed += BINNED_BYTES
        noise = [self._noise.bytes_per_pixel(Route(b)) + NOISE_BYTES for b in route.noise if b]
        each = PICTURE_BYTES if route.mean else FEATURE_BYTES
        frames = each * (2 * route.neighbours + 1) if route.neighbours else 0
        return max([needed, *noise]) + frames
