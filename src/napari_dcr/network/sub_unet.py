"""The simplified, detachable sub-U-Net: one stage of the cascade."""

from __future__ import annotations

from torch import Tensor, nn

from napari_dcr.network.activation import activate, of_both
from napari_dcr.network.bands import in_bands

BAND = 1 << 16
"""Size of the bands in which the finest scale is decoded on a CPU, where it has four maps at once."""


class SubUNet(nn.Module):
    """A three-scale U-Net with one convolution per scale in the encoder and in the decoder.

    Parameters
    ----------
    widths : tuple of int
        Number of channels at full, half and quarter resolution of the input.
    """

    stride = 4

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.encode_fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.down_middle = nn.Conv2d(fine, middle, 2, 2)
        self.encode_middle = nn.Conv2d(middle, middle, 3, padding=1)
        self.down_coarse = nn.Conv2d(middle, coarse, 2, 2)
        self.encode_coarse = nn.Conv2d(coarse, coarse, 3, padding=1)
        self.up_middle = nn.ConvTranspose2d(coarse, middle, 2, 2)
        self.decode_middle = nn.Conv2d(2 * middle, middle, 3, padding=1)
        self.up_fine = nn.ConvTranspose2d(middle, fine, 2, 2)
        self.decode_fine = nn.Conv2d(2 * fine, fine, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, fine, h, w) to the same shape; h and w must be multiples of `stride`."""
        fine = activate(self.encode_fine(x))
        middle = activate(self.down_middle(fine))
        middle = activate(self.encode_middle(middle))
        coarse = activate(self.down_coarse(middle))
        coarse = activate(self.encode_coarse(coarse)) + coarse
        middle = activate(of_both(self.decode_middle, middle, self.up_middle(coarse)))
        return in_bands(self._decode_fine, fine, middle, halo=self.stride // 2, band=BAND)[0]

    def _decode_fine(self, fine: Tensor, middle: Tensor) -> tuple[Tensor]:
        return (of_both(self.decode_fine, fine, self.up_fine(middle)),)

    @staticmethod
    def reach(low: int, high: int) -> tuple[int, int]:
        """Input span that the outputs ``low..high`` depend on, along one axis."""
        low, high = (low - 1) // 2, (high + 1) // 2  # decode_fine, up_fine
        low, high = (low - 1) // 2, (high + 1) // 2  # decode_middle, up_middle
        low, high = low - 1, high + 1  # encode_coarse
        low, high = 2 * low - 1, 2 * high + 2  # down_coarse, encode_middle
        return 2 * low - 1, 2 * high + 2  # down_middle, encode_fine
