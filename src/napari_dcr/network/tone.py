"""The global tone curve: depth 0 of the cascade."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

BAND = 1 << 16
"""Pixels of a plane whose tone is computed at once on a CPU."""

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
    """

    curve: Tensor
    gain: Tensor
    black: Tensor
    balance: Tensor

    def base(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W) display values in: through the curve."""
        return in_bands(lambda x: apply_tone(x, self), x)

    def features(self, x: Tensor, base: Tensor) -> Tensor:
        """What the convolutions see, (B, 2 C, H, W)."""
        return torch.cat([x, base.detach()], 1)

    def picture(self, base: Tensor, x: Tensor, maps: Tensor | None = None) -> Tensor:
        """Give (B, C, H, W) display values back, not clamped.

        ``maps`` (B, 2 C, H, W) are a gain and a bias for each value; without them the
        curve's picture is the result. The local net refines that picture but does not
        bend the curve: in training, tone is learnt by depth 0 alone.
        """
        if maps is None:
            return in_bands(protect_highlights, base, x)
        return in_bands(_refined, base.detach(), x, maps)


def in_bands(function: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """Apply a function of single pixels; on a CPU to some rows after the other.

    What comes between then stays in the processor's cache: a third less time. The
    last bit may depend on where a band ends. Gradients are taken of the whole.

    Parameters
    ----------
    function : callable
        Takes the images' rows, gives as many of the first one's shape.
    images : Tensor, shape (B, C, H, W)
    """
    first = images[0]
    height, width = first.shape[2:]
    if torch.is_grad_enabled() or first.device.type != "cpu" or height * width <= BAND:
        return function(*images)
    result = torch.empty_like(first)
    step = max(1, BAND // width)
    for y in range(0, height, step):
        result[:, :, y : y + step] = function(*(image[:, :, y : y + step] for image in images))
    return result


def _refined(base: Tensor, x: Tensor, maps: Tensor) -> Tensor:
    gain, bias = maps.chunk(2, 1)
    return protect_highlights(torch.addcmul(base + bias, base, gain), x)


def decode(v: Tensor) -> Tensor:
    """Display values to linear light (IEC 61966-2-1); straight below 0.04."""
    return torch.where(v <= 0.04045, v / 12.92, ((v.clamp(min=0.04) + 0.055) / 1.055) ** 2.4)


def encode(x: Tensor) -> Tensor:
    """Linear light to display values (IEC 61966-2-1); straight below 0.003 and for negatives."""
    return torch.where(x <= 0.0031308, 12.92 * x, 1.055 * x.clamp(min=0.003) ** (1 / 2.4) - 0.055)


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
        self.register_buffer("segment_edges", torch.arange(knots) / knots, persistent=False)
        self.register_buffer("abscissa", torch.linspace(0, 1, TABLE_SIZE), persistent=False)

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
        return Tone(curve, gain, black[:, :, None, None], balance[:, :, None, None])


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
    index = position.detach().long().clamp_(max=last - 1)
    low, high = tone.gain.gather(1, index), tone.gain.gather(1, index + 1)
    gain = torch.lerp(low, high, position - index).view(x.shape[0], 1, *x.shape[2:])
    return encode((decode(x) - tone.black) * tone.balance * gain)


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
    ceiling = 0.97 + 0.03 * ((x.amax(1, keepdim=True) - 0.94) / 0.05).clamp(0, 1)
    largest = y.amax(1, keepdim=True)
    room = ceiling - KNEE
    excess = (largest - KNEE).clamp(min=0)
    # tanh stays within float32 of its limit only at infinity: gradation is kept.
    led_in = largest - excess + room * torch.tanh(excess / room)
    return y * (led_in / largest.clamp(min=KNEE)).where(excess > 0, 1)
