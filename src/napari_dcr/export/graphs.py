"""Modules that contain the networks in the form in which they are exported.

Their inputs and outputs are tensors only. What napari-dcr computes outside the networks, such as
interpolation weights for the position of a tile, is computed inside these modules.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_dcr.image.thumbnail import SIZE
from napari_dcr.network import coring
from napari_dcr.network.cascade import Cascade
from napari_dcr.network.folding import FOLD
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.tone import Tone
from napari_dcr.network.variance_stabilization import Counts


class ConditioningGraph(nn.Module):
    """Compute the conditioning that all tiles of an image share from its thumbnail.

    Parameters
    ----------
    network : Cascade
    """

    def __init__(self, network: Cascade) -> None:
        super().__init__()
        self.network = network
        photo = network.config.base == "curve"
        self.inputs = ["thumbnail"] if photo else ["thumbnail", "curvature"]
        self.outputs = ["gain", "black", "balance", "grid"] if photo else ["grid"]

    def forward(self, thumbnail: Tensor, curvature: Tensor | None = None) -> tuple[Tensor, ...]:
        """Run the global net.

        Parameters
        ----------
        thumbnail : Tensor, shape (1, C, 64, 64)
            Area means of the whole image in working units.
        curvature : Tensor, shape (1,), optional
            Gain in units of the noise's standard deviation, see `Counts`.
        """
        tone, grid = self.network.condition(thumbnail, curvature)[:2]
        return (tone.gain, tone.black, tone.balance, grid) if isinstance(tone, Tone) else (grid,)


class TileGraph(nn.Module):
    """Enhance tiles at every depth, given the conditioning of their image.

    Parameters
    ----------
    network : Cascade
    depth : int
        Largest depth.
    detail : bool
        Whether the regional part of the detail modules runs.
    """

    def __init__(self, network: Cascade, depth: int, detail: bool) -> None:
        super().__init__()
        self.network, self.depth, self.detail = network, depth, detail
        own = ["gain", "black", "balance"] if network.config.base == "curve" else ["curvature"]
        self.inputs = ["tile", *own, "grid", "origin", "image_size"]
        self.outputs = [f"depth_{number}" for number in range(depth + 1)]

    def forward(self, tile: Tensor, *conditioning: Any) -> tuple[Tensor, ...]:
        """Run the cascade and return the picture of each depth.

        Parameters
        ----------
        tile : Tensor, shape (B, C, H, W)
            Tiles of one image in working units.
        *conditioning : Tensor
            The other `inputs`: for `photo` the outputs of `ConditioningGraph`, for `microscopy` the
            curvature and the grid, each with a batch of 1; then first row and column of each tile
            in the image, shape (B, 2); and height and width of the image, shape (2,).
        """
        *shared, origin, image_size = conditioning
        *fields, grid = (each.expand(tile.shape[0], *each.shape[1:]) for each in shared)
        cells = grid.shape[2]
        weights = (
            _cell_weights(origin[:, 0], image_size[0], tile.shape[2], cells),
            _cell_weights(origin[:, 1], image_size[1], tile.shape[3], cells),
        )
        tone: Tone | Counts
        if self.network.config.base == "curve":
            gain, black, balance = fields
            visible = torch.full_like(gain[:, 0], coring.VISIBLE)
            tone = Tone(gain, gain, black, balance, visible)  # the curve itself is not applied
        else:
            tone = Counts(fields[0][:, None, None, None])
        exits = range(self.depth + 1)
        pictures = self.network(
            tile, Conditioning(tone, grid), weights, self.depth, self.detail, exits
        )
        return tuple(pictures)


class PictureGraph(nn.Module):
    """Enhance whole pictures, whose thumbnail is computed inside the graph.

    Parameters
    ----------
    network : Cascade
    depth : int
    detail : bool
    """

    def __init__(self, network: Cascade, depth: int, detail: bool = True) -> None:
        super().__init__()
        self.conditioning = ConditioningGraph(network)
        self.tiles = TileGraph(network, depth, detail)
        photo = network.config.base == "curve"
        self.inputs = ["image"] if photo else ["image", "camera"]
        self.outputs = ["enhanced"]

    def forward(self, image: Tensor, camera: Tensor | None = None) -> Tensor:
        """Enhance a picture, or remove noise.

        Parameters
        ----------
        image : Tensor, shape (1, C, H, W)
            Display values in [0, 1]; with a camera, intensities in its units (ADU).
        camera : Tensor, shape (1, 3), optional
            Gain in units per photo-electron, offset in units, and read noise in electrons.

        Returns
        -------
        Tensor, shape (1, C, H, W)
            Picture, clipped to [0, 1]; with a camera (1, 2, H, W), the estimate and its standard
            error.
        """
        if camera is None:
            fields = self.conditioning(_thumbnail(image))
            return self._last(image, fields[:-1], fields[-1]).clamp(0, 1)
        gain, offset, read_noise = (camera[:, [n], None, None] for n in range(3))
        # See `napari_dcr.image.noise_model.NoiseModel.unit`.
        unit = torch.sqrt((gain * read_noise) ** 2 + 0.375 * gain**2)
        curvature = (gain / unit)[:, 0, 0, 0]
        x = (image - offset) / unit
        (grid,) = self.conditioning(_thumbnail(x), curvature)
        estimate, error = self._last(x, (curvature,), grid).chunk(2, 1)
        return torch.cat([estimate * unit + offset, error * unit], 1)

    def _last(self, x: Tensor, fields: tuple[Tensor, ...], grid: Tensor) -> Tensor:
        height, width = x.shape[2:]
        origin = torch.zeros((1, 2), dtype=torch.int64)
        result: Tensor = self.tiles(x, *fields, grid, origin, (height, width))[-1]
        return result


def _cell_weights(first: Tensor, size: Tensor | int, pixels: int, cells: int) -> Tensor:
    """Weights of `napari_dcr.network.global_net.sample_weights` for a batch of tiles.

    Parameters
    ----------
    first : Tensor, shape (B,)
        First pixel of each tile along one axis.
    size : Tensor or int
        Length of the image along that axis.
    pixels, cells : int
        Number of pixels of the tiles, and of grid cells, along that axis.
    """
    places = torch.arange(pixels // FOLD, device=first.device).double() * FOLD + FOLD / 2
    centre = first.double()[:, None] + places
    position = (centre / size * cells - 0.5).clamp(0, cells - 1)
    distance = (position[..., None] - torch.arange(cells).double()).abs()
    return (1 - distance).clamp(min=0).float()


def _thumbnail(image: Tensor) -> Tensor:
    """Reduce (B, C, H, W) pixels to area means in 64 x 64 cells, computed in float64."""
    rows, columns = (_shares(length) for length in image.shape[2:])
    return (rows @ image.double() @ columns.T).float()


def _shares(length: int) -> Tensor:
    """Share of each of ``length`` pixels in the mean of each cell, shape (64, length)."""
    pixel = torch.arange(length).double()
    cell = torch.arange(SIZE).double()[:, None] * length / SIZE
    overlap = torch.minimum(pixel + 1, cell + length / SIZE) - torch.maximum(pixel, cell)
    return overlap.clamp(min=0) * SIZE / length
