"""The anytime, tile-exact Deep Cascade Residual CNN.

Reconstructed from the public record of DCR (Kun Lu, 2019); it contains no code of
the author.  As published: low-level features are passed to every stage, detail modules are
global and regional, detachable sub-U-Nets are joined by residuals, and the result is
reconstructed from all latent spaces.  Different from it: every depth is an output, the global
part of an image is computed once from a thumbnail, and nothing that runs on tiles depends on
pixels further away than `Cascade.receptive_field`.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_dcr.network.activation import activate, added
from napari_dcr.network.bands import in_bands
from napari_dcr.network.detail import DetailModule, Guide
from napari_dcr.network.folding import FOLD, unfold
from napari_dcr.network.global_net import SYMMETRIES, Conditioning, GlobalNet, sample_weights
from napari_dcr.network.neighbours import Comparison, FrameFeatures, NeighbourStage
from napari_dcr.network.sub_unet import SubUNet
from napari_dcr.network.tone import Tone
from napari_dcr.network.variance_stabilization import Counts


@dataclass(frozen=True)
class CascadeConfig:
    """Shape of a cascade.

    Attributes
    ----------
    channels : int
        Number of image channels: 3 for `photo`, 1 for `microscopy`.
    stages : int
        Number N of sub-U-Nets; ``depth`` ranges from 0 to N.
    widths : tuple of int
        Number of feature channels at 1/2, 1/4 and 1/8 of the image's resolution.
    grid_channels : int
        Number of channels of the global feature grid.
    base : {"curve", "counts"}
        Input of the cascade: the image after the learned `Tone` curve, or the image itself in
        variance-stabilised `Counts`.
    neighbours : tuple of int, optional
        Widths of the `NeighbourStage`; None for a cascade without it. It needs the base "counts".
    """

    channels: int = 3
    stages: int = 3
    widths: tuple[int, int, int] = (16, 32, 64)
    grid_channels: int = 16
    base: Literal["curve", "counts"] = "curve"
    neighbours: tuple[int, int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a weights file's header; without ``neighbours`` if there is no such stage."""
        values = asdict(self)
        if self.neighbours is None:
            del values["neighbours"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> CascadeConfig:
        """Read the plain values of `to_dict`, in which tuples may be lists."""
        read: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**read)


class Cascade(nn.Module):
    """Global tone curve, then a cascade of residual sub-U-Nets.

    Attributes
    ----------
    stride : int
        Window origins must be multiples of it, in pixels.
    """

    stride = FOLD * SubUNet.stride

    def __init__(self, config: CascadeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CascadeConfig()
        width = config.widths[0]
        folded = config.channels * FOLD**2
        self.global_net = GlobalNet(
            config.channels, config.grid_channels, curve=config.base == "curve"
        )
        self.front = nn.Conv2d(2 * folded, width, 3, padding=1)
        self.details = nn.ModuleList(
            DetailModule(width, config.grid_channels) for _ in range(config.stages)
        )
        self.unets = nn.ModuleList(SubUNet(config.widths) for _ in range(config.stages))
        self.projections = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(config.stages))
        self.head = nn.Conv2d(width, 2 * folded, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)
        self.neighbours: NeighbourStage | None = None
        if config.neighbours is not None:
            if config.base != "counts":
                raise ValueError(
                    f"neighbours: got widths for a cascade with the base {config.base!r}; only one"
                    " with the base 'counts' can have a stage of neighbouring frames"
                )
            self.neighbours = NeighbourStage(width, widths=config.neighbours)

    @property
    def stages(self) -> int:
        """Number of sub-U-Nets, which is the largest depth."""
        return self.config.stages

    def receptive_field(self, depth: int, neighbours: bool = False) -> int:
        """Largest distance in pixels at which an input pixel can affect an output pixel.

        This is the maximum over all positions of the output pixel on the stride grid.  With
        ``neighbours``, it is that of `fuse`, for pixels of the frame and of its neighbours.
        """
        if depth == 0:
            return 0
        if neighbours and self.neighbours is None:
            raise ValueError(
                "neighbours: got True for a network without a stage of neighbouring frames"
            )
        radius = 0
        for pixel in range(self.stride):
            kind = Tone if self.config.base == "curve" else Counts
            low, high = kind.reach(pixel, pixel)
            low, high = low // FOLD, high // FOLD
            low, high = NeighbourStage.reach(low, high) if neighbours else (low - 1, high + 1)
            for _ in range(depth):
                low, high = DetailModule.reach(*SubUNet.reach(low, high))
            low, high = FOLD * (low - 1), FOLD * (high + 2) - 1  # front
            radius = max(radius, pixel - low, high - pixel)
        return radius

    def placed_on(self, device: torch.device) -> Cascade:
        """Copy the network to a device in channels-last layout, which is 1.5 to 2 times faster on CPUs.

        The original is not moved, so that runs on different devices can share loaded weights.
        """
        return copy.deepcopy(self).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def with_precision(self, dtype: torch.dtype) -> Cascade:
        """Copy the network with its convolutions over pixels in ``dtype``; no copy for float32.

        The curve, the grid and the final combination stay in float32.  Because the network
        predicts maps and not pixels, low precision changes the result little.
        """
        if dtype == torch.float32:
            return self
        clone = copy.deepcopy(self)
        for part in (clone.front, clone.details, clone.unets, clone.projections, clone.head):
            part.to(dtype)
        if clone.neighbours is not None:
            clone.neighbours.to(dtype)
        return clone

    def condition(
        self,
        thumbnail: Tensor,
        curvature: Tensor | None = None,
        symmetries: Sequence[int] = SYMMETRIES,
    ) -> Conditioning:
        """Run the global net on thumbnails.

        Parameters
        ----------
        thumbnail : Tensor, shape (B, C, 64, 64)
            Area means of the whole image in working units.
        curvature : Tensor, shape (B,), optional
            Curvature of the `Counts`; required if they are the base.
        symmetries : sequence of int
            Indices of the `SYMMETRIES` that the net averages over.
        """
        if self.config.base == "curve":
            tone, grid = self.global_net(thumbnail, symmetries)
            return Conditioning(tone, grid)
        if curvature is None:
            raise TypeError("curvature: got None; required for a network with the base 'counts'")
        noise = Counts(curvature.to(thumbnail)[:, None, None, None])
        _, grid = self.global_net(noise.base(thumbnail), symmetries)
        return Conditioning(noise, grid)

    def window_weights(
        self,
        rows: tuple[int, int],
        columns: tuple[int, int],
        size: tuple[int, int],
        cells: int = 16,
        binning: tuple[int, int] = (1, 1),
        extent: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 1.0), (0.0, 1.0)),
    ) -> tuple[Tensor, Tensor]:
        """Interpolation weights of the grid for a window of an image.

        Parameters
        ----------
        rows, columns : tuple of int
            Start and stop of the window in pixels of the image.
        size : tuple of int
            Height and width of the image in pixels.
        cells : int
            Number of grid cells per axis.
        binning : tuple of int
            Step in pixels at which rows and columns of the window are sampled.
        extent : ((float, float), (float, float))
            Part of the image that the grid covers; see `Conditioning`.
        """
        return tuple(  # type: ignore[return-value]
            sample_weights(start / n, stop / n, length / n, cells, FOLD, part)[None]
            for (start, stop), length, n, part in zip(
                (rows, columns), size, binning, extent, strict=True
            )
        )

    def forward(
        self,
        x: Tensor,
        conditioning: Conditioning,
        weights: tuple[Tensor, Tensor],
        depth: int,
        detail: bool = True,
        exits: Sequence[int] | None = None,
    ) -> Tensor | list[Tensor]:
        """Enhance a window.

        Parameters
        ----------
        x : Tensor, shape (B, C, H, W)
            Pixels in [0, 1], or in standard deviations of the dark noise if `Counts` are the
            base; H and W are multiples of `stride`.
        conditioning : Conditioning
            Result of `condition` for the whole image.
        weights : tuple of Tensor
            Result of `window_weights` for the window.
        depth : int
            Number of sub-U-Nets to run, from 0 to `stages`.
        detail : bool
            Whether to run the regional part of the detail modules.
        exits : sequence of int, optional
            Depths to return, each at most ``depth``; only ``depth`` if None.

        Returns
        -------
        Tensor of shape (B, C, H, W), or a list of them if ``exits`` is given
            Enhanced window, not clamped.  With `Counts` a second channel holds the standard error
            of the first one.
        """
        wanted = [depth] if exits is None else list(exits)
        tone = conditioning.tone
        if depth:
            base, low = self._low_level(x, tone)
        else:
            base = tone.base(x)
        outputs = {0: tone.picture(base, x)} if 0 in wanted else {}
        if depth:
            guide = conditioning.grid, *weights
            for stage, latent in enumerate(self._latents(low, guide, depth, detail), 1):
                if stage in wanted:
                    outputs[stage] = tone.picture(base, x, self.head(latent))
        pictures = [outputs[d] for d in wanted]
        return pictures[0] if exits is None else pictures

    def frame_features(
        self,
        x: Tensor,
        conditioning: Conditioning,
        weights: tuple[Tensor, Tensor],
        depth: int,
        detail: bool = True,
    ) -> FrameFeatures:
        """Compute all that `fuse` needs of one frame, which is nearly all of the work.

        The parameters are those of `forward`; ``depth`` is at least 1.
        """
        assert self.neighbours is not None
        base, latent = self._base_and_latent(x, conditioning, weights, depth, detail)
        return self.neighbours.features(base, x, latent, self.head(latent))

    def comparison(
        self, x: Tensor, conditioning: Conditioning, weights: tuple[Tensor, Tensor], depth: int
    ) -> Comparison:
        """Compute what the gates of `fuse` need of one frame; the parameters are those of `forward`."""
        base, latent = self._base_and_latent(x, conditioning, weights, depth)
        return Comparison.of(base, self.head(latent))

    def _base_and_latent(
        self,
        x: Tensor,
        conditioning: Conditioning,
        weights: tuple[Tensor, Tensor],
        depth: int,
        detail: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Base of a window, and the sum of the latents of its stages."""
        assert depth > 0
        base, low = self._low_level(x, conditioning.tone)
        [latent] = deque(self._latents(low, (conditioning.grid, *weights), depth, detail), 1)
        return base, latent

    def fuse(
        self,
        centre: FrameFeatures,
        neighbours: Sequence[FrameFeatures | None],
        conditioning: Conditioning,
    ) -> Tensor:
        """Enhance a window of a frame with the help of the frames beside it.

        Parameters
        ----------
        centre : FrameFeatures
            Features of the frame, from `frame_features`.
        neighbours : sequence of FrameFeatures or None
            Features of the same window in the frames ``-n..-1, 1..n``, with n = 1 or 2; None for
            a frame that is missing.  If all are missing, the result is that of `forward`, to the
            last bit.
        conditioning : Conditioning
            That of the frame.

        Returns
        -------
        Tensor, shape (B, 2, H, W)
            Enhanced window and its standard error.
        """
        stage, tone = self.neighbours, conditioning.tone
        assert stage is not None
        if len(neighbours) not in [2 * n for n in range(1, stage.FRAMES + 1)]:
            raise ValueError(
                f"neighbours: got {len(neighbours)} frames; allowed are 2 or 4, half of them on"
                " each side, with None for missing frames"
            )
        maps = centre.maps
        if any(other is not None for other in neighbours):
            maps = maps + stage(centre, neighbours)
        return tone.picture(centre.base, centre.x, maps)

    def _latents(self, low: Tensor, guide: Guide, depth: int, detail: bool) -> Iterator[Tensor]:
        """Sum of the stages' latents after each stage; the next stage may overwrite the last sum."""
        running, latent = [low], None
        for stage in range(depth):
            state = self.details[stage](low, running, guide, detail)
            update = self.unets[stage](state)
            if stage + 1 < depth:
                running.append(added(state, update))
            del state
            update = self.projections[stage](update)
            latent = update if latent is None else update.add_(latent)
            del update  # frees memory for the next stage
            yield latent

    def _low_level(self, x: Tensor, tone: Tone | Counts) -> tuple[Tensor, Tensor]:
        """Base of a window, and the low-level features of the window and its base."""
        dtype, layout = self.front.weight.dtype, torch.channels_last

        def base_and_features(x: Tensor) -> tuple[Tensor, Tensor]:
            base = tone.base(x)
            return base, tone.features(x, base).to(dtype).contiguous(memory_format=layout)

        # Unfolding the kernel instead of folding the pixels gives the same convolution in a third
        # of the time.
        kernel = unfold(self.front.weight).contiguous(memory_format=layout)
        base, pixels = in_bands(base_and_features, x)
        return base, activate(F.conv2d(pixels, kernel, self.front.bias, FOLD, FOLD))
