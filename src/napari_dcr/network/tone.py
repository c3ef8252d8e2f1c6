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
"""Entries of a sampled curve; between them it is linear."""


BALANCE_RANGE = 0.8
"""Largest log gain of a channel's white balance: 1.15 EV up or down."""


class Tone(NamedTuple):
    """A tone curve in linear light: ``(light - black) * balance * gain(brightest)``.

    All channels of a pixel share the gain of its brightest one, so that hues
    survive where the curve bends.

    Attributes
    ----------
    curve : Tensor, shape (B, TABLE_SIZE)
        Display value out over display value in, both in [0, 1], rising.
    gain : Tensor, shape (B, TABLE_SIZE)
        The same as a gain of linear light.
    black, balance : Tensor, shape (B, C, 1, 1)
        Black level in linear light and white balance.
    visible : Tensor, shape (B,)
        Deviation, in display values, below which a change of the finest detail is not made.
    """

    curve: Tensor
    gain: Tensor
    black: Tensor
    balance: Tensor
    visible: Tensor

    def base(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W) display values in: through the curve."""
        return in_bands(lambda x: (apply_tone(x, self),), x)[0]

    def features(self, x: Tensor, base: Tensor) -> Tensor:
        """What the convolutions see, (B, 2 C, H, W)."""
        return torch.cat([x, base.detach()], 1)

    def picture(self, base: Tensor, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Give (B, C, H, W) display values back, not clamped.

        ``maps`` (B, 2 C F^2, H / F, W / F) are a gain and a bias for each coefficient of F x F
        pixels (`block_dct`); without them the curve's picture is the result. A gain of -1 takes
        away what is fine or coloured whatever its noise is: no feature has to carry the pixels.
        The local net refines that picture but does not bend the curve: in training, tone
        is learnt by depth 0 alone.
        """
        if maps is None:
            return in_bands(lambda base, x: (protect_highlights(base, x),), base, x)[0]
        return in_bands(self._refined, base.detach(), x, maps, halo=FOLD * coring.AROUND)[0]

    def _refined(self, base: Tensor, x: Tensor, maps: Tensor) -> tuple[Tensor]:
        # Planes like the base's: to mix layouts takes longer than to convert.
        gain, bias = maps.to(base.dtype, memory_format=torch.contiguous_format).chunk(2, 1)
        folded = fold(base)
        change = self._change(folded, gain, bias).unflatten(1, (-1, FOLD**2))
        change = inverse_dct(coring.cored(change, self.visible).flatten(1, 2))
        return (protect_highlights(unfold(change.add_(folded)), x),)

    @staticmethod
    def _change(folded: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        """Change that maps make to the coefficients of folded pixels."""
        return torch.addcmul(bias, dct(folded), gain)

    @staticmethod
    def reach(low: int, high: int) -> tuple[int, int]:
        """Span of pixels that those from ``low`` to ``high`` depend on, along one axis."""
        first, last = coring.reach(low // FOLD, high // FOLD)
        return FOLD * first, FOLD * (last + 1) - 1


def _power(x: Tensor, exponent: float) -> Tensor:
    """``(1 + x) ** exponent``, to 3e-7 of it or of 1, where 1 + x is positive.

    Half the time of pow on CPUs, where log1p takes two thirds of the time of log2.
    """
    return torch.log1p(x).mul_(exponent * math.log2(math.e)).exp2_()


# Below a threshold both functions are straight, above it a power. The straight part of what
# is clamped to the one side plus the power of what is clamped to the other is less work than
# to choose between them pixel by pixel. In place is what no gradient needs as it was.


def decode(v: Tensor) -> Tensor:
    """Display values to linear light (IEC 61966-2-1); straight below 0.04045."""
    power = 1.055**-2.4 * _power(v.clamp(min=0.04045).add_(0.055 - 1), 2.4)
    return power.sub_(0.0031308).add_(v.clamp(max=0.04045), alpha=1 / 12.92)


def encode(x: Tensor) -> Tensor:
    """Linear light to display values (IEC 61966-2-1); straight below 0.0031308."""
    power = 1.055 * _power(x.clamp(min=0.0031308).sub_(1), 1 / 2.4)
    return power.sub_(0.09545).add_(x.clamp(max=0.0031308), alpha=12.92)


class ToneDecoder(nn.Module):
    """Turn the global net's parameters into a `Tone`.

    The abscissa is first adapted to the image's level ``a`` (the mean of its
    thumbnail) by ``u = x (1 + a) / (x + a)``, the normalised form of the
    photographic operator (Reinhard et al. 2002, eq. 3), so that one set of
    parameters means the same curve at every exposure.  On ``u`` the curve is
    piecewise linear with positive increments that sum to at most 1: it rises
    and never leaves the range.

    Parameters
    ----------
    channels : int
        Channels of the image.
    knots : int
        Segments of the piecewise linear curve.
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
        """Numbers that `forward` reads per image."""
        return self.knots + 1 + 2 * self.channels

    def forward(self, parameters: Tensor, level: Tensor) -> Tone:
        """Decode.

        Parameters
        ----------
        parameters : Tensor, shape (B, parameter_count)
            Log increments of the curve, common black level, black level and
            log balance per channel; all zero is the photographic operator itself.
        level : Tensor, shape (B,)
            Mean of the image in (0, 1].
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
        # To learn, the weakest change has to count.
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
    """Lead a picture's highlights in below white, where the input was not white itself.

    The brightest channel approaches a ceiling, 0.97 for input up to 0.94 and 1
    from 0.99 on; the other channels are scaled with it, so the hue stays.  What
    was not clipped in the input is therefore not clipped by brightening it.

    Parameters
    ----------
    y, x : Tensor, shape (B, C, H, W)
        Picture and the input it was made from, display values.
    """
    # 0.03 more for 0.05 of the input above 0.94.
    room = (0.6 * x.amax(1, keepdim=True) - 0.474).clamp_(0.97 - KNEE, 1 - KNEE)
    largest = y.amax(1, keepdim=True).clamp(min=KNEE)
    excess = largest - KNEE
    # tanh, which keeps gradation on its way to the limit, in a fifth of its time on CPUs.
    reached = torch.sigmoid(2 * excess / room).mul(2).sub_(1)
    taken = torch.addcmul(excess, room, reached, value=-1)
    return torch.addcmul(y, y, taken.div_(largest), value=-1)
