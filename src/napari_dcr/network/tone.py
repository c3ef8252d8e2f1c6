"""The global tone curve: depth 0 of the cascade."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from napari_dcr.network import coring
from napari_dcr.network.bands import in_bands
from napari_dcr.network.block_dct import dct, inverse_dct
from napari_dcr.network.folding import FOLD, fold, unfold

TABLE_SIZE = 1025
"""Number of entries of a sampled curve, which is interpolated linearly between them."""


BALANCE_RANGE = 0.8
"""Largest log gain of a channel's white balance: 1.15 EV up or down."""


class Tone(NamedTuple):
    """A tone curve in linear light: ``(light - black) * balance * gain(brightest)``.

    All channels of a pixel share the gain of its brightest channel, so that the curve does not
    change hues.

    Attributes
    ----------
    curve : Tensor, shape (B, TABLE_SIZE)
        Output display value for each input display value, both in [0, 1]; increasing.
    gain : Tensor, shape (B, TABLE_SIZE)
        The same curve as a gain of linear light.
    black, balance : Tensor, shape (B, C, 1, 1)
        Black level in linear light, and white balance factors.
    visible : Tensor, shape (B,)
        Standard deviation, in display values, below which changes of the finest detail are
        attenuated, see `coring.cored`.
    """

    curve: Tensor
    gain: Tensor
    black: Tensor
    balance: Tensor
    visible: Tensor

    def base(self, x: Tensor) -> Tensor:
        """Apply the curve to display values (B, C, H, W)."""
        return in_bands(lambda x: (apply_tone(x, self),), x)[0]

    def features(self, x: Tensor, base: Tensor) -> Tensor:
        """Input of the convolutions (B, 2 C, H, W): the window and its base."""
        return torch.cat([x, base.detach()], 1)

    def picture(self, base: Tensor, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Combine the base and the network's maps into display values (B, C, H, W), not clamped.

        Parameters
        ----------
        base, x : Tensor, shape (B, C, H, W)
            Window after the curve, and the window itself.
        maps : Tensor, shape (B, 2 C F^2, H / F, W / F), optional
            Gain and bias for the change of each coefficient of F x F pixels (`block_dct`).  A
            gain of -1 removes a coefficient together with its noise, so that no feature map has
            to reproduce the pixels.  Without maps the result is the base.

        Notes
        -----
        The base is detached: in training only depth 0 learns the curve.
        """
        if maps is None:
            return in_bands(lambda base, x: (protect_highlights(base, x),), base, x)[0]
        return in_bands(self._refined, base.detach(), x, maps, halo=FOLD * coring.AROUND)[0]

    def _refined(self, base: Tensor, x: Tensor, maps: Tensor) -> tuple[Tensor]:
        # Converting to the layout of the base is faster than computing with mixed layouts.
        gain, bias = maps.to(base.dtype, memory_format=torch.contiguous_format).chunk(2, 1)
        folded = fold(base)
        change = self._change(folded, gain, bias).unflatten(1, (-1, FOLD**2))
        change = inverse_dct(coring.cored(change, self.visible).flatten(1, 2))
        return (protect_highlights(unfold(change.add_(folded)), x),)

    @staticmethod
    def _change(folded: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Change of the coefficients of folded pixels by gain and bias."""
        return torch.addcmul(bias, dct(folded), gain)

    @staticmethod
    def reach(low: int, high: int) -> tuple[int, int]:
        """Span of input pixels that the output pixels ``low..high`` depend on, along one axis."""
        first, last = coring.reach(low // FOLD, high // FOLD)
        return FOLD * first, FOLD * (last + 1) - 1


def _power(x: Tensor, exponent: float) -> Tensor:
    """Compute ``(1 + x) ** exponent`` for 1 + x > 0, to 3e-7 of the larger of the result and 1.

    On CPUs this takes half the time of ``pow``, and ``log1p`` two thirds of the time of ``log2``.
    """
    return torch.log1p(x).mul_(exponent * math.log2(math.e)).exp2_()


# Below a threshold both functions are linear, above it they are powers. Adding both parts with
# clamped arguments is faster than selecting one of them for each pixel. Operations are in place
# where the gradient does not need the original values.


def decode(v: Tensor) -> Tensor:
    """Decode display values to linear light (IEC 61966-2-1); linear below 0.04045."""
    power = 1.055**-2.4 * _power(v.clamp(min=0.04045).add_(0.055 - 1), 2.4)
    return power.sub_(0.0031308).add_(v.clamp(max=0.04045), alpha=1 / 12.92)


def encode(x: Tensor) -> Tensor:
    """Encode linear light to display values (IEC 61966-2-1); linear below 0.0031308."""
    power = 1.055 * _power(x.clamp(min=0.0031308).sub_(1), 1 / 2.4)
    return power.sub_(0.09545).add_(x.clamp(max=0.0031308), alpha=12.92)


class ToneDecoder(nn.Module):
    """Turn the global net's parameters into a `Tone`.

    The abscissa is first adapted to the image's level ``a``, the mean of its thumbnail, by
    ``u = x (1 + a) / (x + a)``.  This is the normalised form of the photographic operator
    (Reinhard et al. 2002, eq. 3).  One set of parameters then describes the same curve at every
    exposure.  In ``u`` the curve is piecewise linear with positive increments that sum to at
    most 1, so that it increases and stays within [0, 1].

    Parameters
    ----------
    channels : int
        Number of image channels.
    knots : int
        Number of segments of the piecewise linear curve.
    """

    segment_edges: Tensor
    abscissa: Tensor

    def __init__(self, channels: int, knots: int = 24) -> None:
        super().__init__()
        self.channels = channels
        self.knots = knots
        self.register_buffer(
            "segment_edges", torch.arange(knots, dtype=torch.float32) / knots, persistent=False
        )
        abscissa = torch.linspace(0, 1, TABLE_SIZE, dtype=torch.float32)
        self.register_buffer("abscissa", abscissa, persistent=False)

    @property
    def parameter_count(self) -> int:
        """Number of parameters per image that `forward` takes."""
        return self.knots + 1 + 2 * self.channels

    def forward(self, parameters: Tensor, level: Tensor) -> Tone:
        """Decode parameters into a tone curve.

        Parameters
        ----------
        parameters : Tensor, shape (B, parameter_count)
            Log increments of the curve, common black level, and for each channel its black level
            and log balance.  Zeros give the photographic operator itself.
        level : Tensor, shape (B,)
            Mean of the image, in (0, 1].
        """
        channels = self.channels
        log_increments, common, black, balance = parameters.split(
            [self.knots, 1, channels, channels], dim=1
        )
        increments = log_increments.clamp(-5, 3).exp() / self.knots  # (B, K)
        increments = increments / increments.sum(1, keepdim=True).clamp(min=1)
        a = level[:, None]
        u = self.abscissa * (1 + a) / (self.abscissa + a)  # (B, T)
        covered = ((u[:, None] - self.segment_edges[:, None]) * self.knots).clamp(0, 1)  # (B, K, T)
        curve = (increments[:, None] @ covered)[:, 0]
        gain = decode(curve[:, 1:]) / decode(self.abscissa[1:])
        gain = torch.cat([gain[:, :1], gain], 1)
        dim_grey = decode(a)
        black = dim_grey * torch.tanh(common + 0.3 * black)
        balance = torch.exp(BALANCE_RANGE * torch.tanh(balance))
        # Training must see the weakest changes too, so it does not attenuate them.
        visible = level.new_full(level.shape, 0.0 if self.training else coring.VISIBLE)
        return Tone(curve, gain, black[:, :, None, None], balance[:, :, None, None], visible)


def apply_tone(x: Tensor, tone: Tone) -> Tensor:
    """Apply a tone curve to every pixel.

    Parameters
    ----------
    x : Tensor, shape (B, C, H, W)
        Display values in [0, 1].
    tone : Tone

    Returns
    -------
    Tensor, shape (B, C, H, W)
        Display values.
    """
    last = TABLE_SIZE - 1
    position = x.amax(1).clamp(0, 1).flatten(1) * last  # (B, H W)
    index = position.detach().long()
    beyond = torch.cat([tone.gain, tone.gain[:, -1:]], 1)  # where the last entry is not between two
    low, high = beyond.gather(1, index), beyond.gather(1, index + 1)
    gain = torch.lerp(low, high, position.frac()).view(x.shape[0], 1, *x.shape[2:])
    return encode(decode(x).sub_(tone.black) * tone.balance * gain)


KNEE = 0.88
"""Display value above which `protect_highlights` acts."""


def protect_highlights(y: Tensor, x: Tensor) -> Tensor:
    """Compress highlights below white where the input itself is not white.

    The brightest channel approaches a ceiling: 0.97 where the input is below 0.94, rising to 1 at
    0.99.  The other channels are scaled with it, which keeps the hue.  Pixels that are not clipped
    in the input are therefore not clipped by brightening.

    Parameters
    ----------
    y, x : Tensor, shape (B, C, H, W)
        Enhanced picture and its input, in display values.
    """
    # The ceiling rises by 0.03 while the input rises by 0.05 above 0.94.
    room = (0.6 * x.amax(1, keepdim=True) - 0.474).clamp_(0.97 - KNEE, 1 - KNEE)
    largest = y.amax(1, keepdim=True).clamp(min=KNEE)
    excess = largest - KNEE
    # This is tanh, which keeps gradation up to the ceiling, in a fifth of its time on CPUs.
    reached = torch.sigmoid(2 * excess / room).mul(2).sub_(1)
    taken = torch.addcmul(excess, room, reached, value=-1)
    return torch.addcmul(y, y, taken.div_(largest), value=-1)
