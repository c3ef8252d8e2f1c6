"""A network and that of its noise stage on a device: halos, memory use, and enhancement of windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from napari_dcr.engine import devices
from napari_dcr.engine.neighbours import Alignment
from napari_dcr.engine.tiles import Grid, Size
from napari_dcr.image.frame_shifts import FARTHEST
from napari_dcr.network.binning import binned_features, fuse_binned
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.global_net import PLAIN, Conditioning, Route
from napari_dcr.network.neighbours import FrameFeatures
from napari_dcr.network.noise_stage import enhance_window
from napari_dcr.network.variance_stabilization import Counts

BINNED_BYTES = 40
"""Bytes per pixel of a binned window: for the window, its local means and the subsampled images."""

FEATURE_BYTES = 100
"""Bytes per pixel of a window for the features of one frame, which neighbouring frames need."""

NOISE_BYTES = 40
"""Bytes per pixel of a window with a noise stage: for its colours before and after that stage."""


class Networks:
    """A network on a device, and the network of its noise stage.

    Parameters
    ----------
    network : Cascade
        Network in evaluation mode; it is copied to the device and converted once.
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
        self.network = network.placed_on(device)
        self.local = self.network.with_precision(devices.torch_dtype(precision))
        self._find_noise = noise

    def grid(self, height: int, width: int, route: Route = PLAIN) -> Grid:
        """Tile grid for planes of this size, with the halo that the networks of a route need."""
        halo, stride = self._reach(route.binning, route.neighbours > 0)
        if halo and route.neighbours:
            halo += FARTHEST
        if self.depth and route.noise:
            stages = [self._noise._reach(binning) for binning in route.noise if binning]
            halo += max((reach for reach, _ in stages), default=0)
            stride = math.lcm(stride, *(step for _, step in stages))
        return Grid(height, width, halo, stride, route)

    def _reach(self, binning: tuple[int, int], neighbours: bool = False) -> Size:
        """Halo and stride of the network at a binning, also for frames with their neighbours."""
        most = max(binning)
        halo = self.network.receptive_field(self.depth, neighbours and self.depth > 0)
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
    ) -> list[torch.Tensor]:
        """Enhance windows of equal shape and route; returns the pictures at the depths ``exits``."""
        noise_network = self._noise.local if conditioning.noise else None
        pictures = enhance_window(
            self.local, noise_network, windows, conditioning, weights, depth, self.detail, exits
        )
        return list(pictures)

    def features(
        self,
        window: torch.Tensor,
        conditioning: Conditioning,
        weights: tuple[torch.Tensor, torch.Tensor],
        depth: int,
    ) -> tuple[FrameFeatures, ...]:
        """Features of a window of one frame at a depth, for itself and for its neighbours."""
        return binned_features(self.local, window, conditioning, weights, depth, self.detail)

    def fuse(
        self,
        centre: tuple[FrameFeatures, ...],
        neighbours: Sequence[tuple[tuple[FrameFeatures, ...], Alignment] | None],
        conditioning: Conditioning,
    ) -> torch.Tensor:
        """Picture of a frame, from the features of a window of it and of its neighbours.

        Parameters
        ----------
        centre : tuple of FrameFeatures
        neighbours : sequence
            Features of the frames before and after it, each with its alignment, by a multiple of
            `shift_step`; None for a frame that is missing or does not match.
        conditioning : Conditioning
        """
        aligned = [
            other and tuple(self._aligned(each, other[1], conditioning) for each in other[0])
            for other in neighbours
        ]
        return fuse_binned(self.local, centre, aligned, conditioning)

    def _aligned(
        self, features: FrameFeatures, alignment: Alignment, conditioning: Conditioning
    ) -> FrameFeatures:
        """Features of a neighbour with the light and the place of the frame that it is combined with."""
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
        return route.binning[0], route.binning[1]

    def bytes_per_pixel(self, route: Route) -> float:
        """Peak working memory per pixel of a window; with a noise stage, that of the larger network."""
        phases = math.prod(route.binning)
        needed = devices.bytes_per_pixel(self.network, self.precision) / phases
        if phases > 1:
            needed += BINNED_BYTES
        noise = [self._noise.bytes_per_pixel(Route(b)) + NOISE_BYTES for b in route.noise if b]
        frames = FEATURE_BYTES * (2 * route.neighbours + 1) if route.neighbours else 0
        return max([needed, *noise]) + frames
