"""The cascade: exactness of what it declares, usefulness of its every exit."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from napari_dcr.image.tone import linear_to_srgb, srgb_to_linear
from napari_dcr.network import bands, cards, weights
from napari_dcr.network.activation import activate
from napari_dcr.network.block_dct import dct, inverse_dct
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.classic import ClassicCascade
from napari_dcr.network.coring import VISIBLE, cored, reach
from napari_dcr.network.detail import _sum_around
from napari_dcr.network.folding import FOLD, fold, unfold
from napari_dcr.network.tone import TABLE_SIZE, apply_tone, decode, encode
from tests.conftest import COUNTS, lively_cascade


def positive_cascade(config: CascadeConfig | None = None) -> Cascade:
    """Weights under which no path can cancel or die, so that gradients show all of them."""
    network = Cascade(config).double().eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not name.startswith("global_net"):
                parameter.uniform_(0.5, 1.5)
                parameter /= parameter[0].numel() if parameter.ndim > 1 else 10
            if name.startswith("head"):
                parameter /= 1000  # no bound of what may change is reached
    return network


def touched(network: Cascade, depth: int, y: int, x: int, size: int) -> tuple[int, int, int, int]:
    """Bounds of the input pixels with a gradient of the output at (y, x)."""
    channels = network.config.channels
    image = torch.rand(1, channels, size, size, dtype=torch.float64, requires_grad=True)
    conditioning = network.condition(
        torch.rand(1, channels, 64, 64, dtype=torch.float64), torch.tensor([0.7])
    )
    place = network.window_weights((0, size), (0, size), (size, size))
    network(image, conditioning, (place[0].double(), place[1].double()), depth)[
        0, :, y, x
    ].sum().backward()
    assert image.grad is not None
    rows, columns = (image.grad[0].abs().sum(0) > 0).nonzero().T
    return int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())


@pytest.mark.parametrize("config", [CascadeConfig(), COUNTS], ids=["curve", "counts"])
@pytest.mark.parametrize("depth", range(4))
def test_receptive_field_is_the_support_of_the_gradient(depth: int, config: CascadeConfig) -> None:
    network = positive_cascade(config)
    radius = network.receptive_field(depth)
    size = 2 * (radius // 8 + 2) * 8
    middle = size // 16 * 8
    reached = 0
    for phase in range(network.stride):
        y, x = middle + phase, middle + (3 * phase) % network.stride
        top, bottom, left, right = touched(network, depth, y, x, size)
        reached = max(reached, y - top, bottom - y, x - left, right - x)
    # Never less, which would seam; never more, which would waste halo.
    assert reached == radius


def test_windows_must_sit_on_the_stride_grid() -> None:
    """The declared stride is necessary and sufficient for shift equivariance."""
    network = lively_cascade().double()
    radius = network.receptive_field(3)
    size = 2 * (radius // 8 + 3) * 8
    image = torch.rand(1, 3, size, size, dtype=torch.float64)
    flat = network.condition(torch.full((1, 3, 64, 64), 0.2, dtype=torch.float64))
    flat = flat._replace(grid=torch.zeros_like(flat.grid))

    def middle(shift: int) -> torch.Tensor:
        window = image[:, :, shift : shift + size - 16, shift : shift + size - 16]
        n = window.shape[2]
        place = network.window_weights((0, n), (0, n), (n, n))
        out = network(window, flat, (place[0].double(), place[1].double()), 3)
        c = size // 2 - shift
        return out[0, :, c : c + 4, c : c + 4]

    assert torch.allclose(middle(0), middle(network.stride), atol=1e-12)
    assert not torch.allclose(middle(0), middle(network.stride // 2), atol=1e-6)


FORBIDDEN = (
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.MultiheadAttention,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Upsample,
)


def spatial_statistics(network: nn.Module) -> list[str]:
    """Modules in the tile path that look at the whole window."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, FORBIDDEN) and not name.startswith("global_net")
    ]


def test_tile_path_has_no_spatial_statistics() -> None:
    assert spatial_statistics(Cascade()) == []
    poisoned = Cascade()
    poisoned.unets[1].add_module("norm", nn.GroupNorm(2, 16))
    assert spatial_statistics(poisoned) == ["unets.1.norm"]


def test_tile_path_depends_on_nothing_beyond_its_window_functionally() -> None:
    """What a module walk cannot see: pooling by function. Far pixels must not matter at all."""
    network = lively_cascade()
    radius = network.receptive_field(3)
    size = (2 * radius // 8 + 4) * 8
    image = torch.rand(1, 3, 64, size)
    changed = image.clone()
    changed[..., -16:] = torch.rand(1, 3, 64, 16)
    conditioning = network.condition(torch.rand(1, 3, 64, 64))
    place = network.window_weights((0, 64), (0, size), (64, size))
    with torch.inference_mode():
        a, b = (
            network(i, conditioning, place, 3)[..., : size - 16 - radius] for i in (image, changed)
        )
    assert (a - b).abs().max() < 1e-6


@pytest.mark.parametrize("detail", [True, False])
@pytest.mark.parametrize("depth", range(4))
def test_every_exit_of_the_shipped_weights_is_a_usable_image(depth: int, detail: bool) -> None:
    network = weights.load("photo").network
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="ij")
    scene = torch.stack([y, x, (y + x) / 2])[None]
    dim = encode(decode(scene) / 32)
    conditioning = network.condition(torch.nn.functional.interpolate(dim, (64, 64), mode="area"))
    place = network.window_weights((0, 96), (0, 96), (96, 96))
    with torch.inference_mode():
        out = network(dim, conditioning, place, depth, detail)
    assert torch.isfinite(out).all()
    assert 0.2 < out.mean() < 0.8
    correlation = np.corrcoef(out.flatten().numpy(), scene.flatten().numpy())[0, 1]
    assert correlation > 0.85


def test_detail_switch_and_depth_change_the_result() -> None:
    network = lively_cascade()
    image = torch.rand(1, 3, 64, 64)
    conditioning = network.condition(image)
    place = network.window_weights((0, 64), (0, 64), (64, 64))
    with torch.inference_mode():
        exits = network(image, conditioning, place, 3, exits=range(4))
        without = network(image, conditioning, place, 3, detail=False)
        alone = [network(image, conditioning, place, d) for d in range(4)]
    for one, other in zip(exits, alone, strict=True):
        assert torch.equal(one, other)  # running deeper does not change an exit
    for shallow, deep in itertools.pairwise(exits):
        assert (shallow - deep).abs().max() > 1e-3
    assert (exits[3] - without).abs().max() > 1e-3


@pytest.mark.parametrize("level", [0.01, 0.1, 0.5])
def test_depth_0_is_monotone_and_keeps_hue(level: float) -> None:
    network = lively_cascade()
    conditioning = network.condition(torch.full((1, 3, 64, 64), level))
    curve = conditioning.tone.curve
    assert curve.shape == (1, TABLE_SIZE)
    assert (curve.diff() > 0).all()
    assert curve[0, 0] == 0
    assert curve[0, -1] <= 1 + 1e-6
    hue = torch.tensor([1.0, 0.6, 0.3])[None, :, None, None]
    ramp = encode(hue * torch.linspace(0.05, 1, 50))
    neutral = conditioning.tone._replace(
        black=torch.zeros(1, 3, 1, 1), balance=torch.ones(1, 3, 1, 1)
    )
    light = decode(apply_tone(ramp, neutral))
    assert torch.allclose(light / light[:, :1], hue.expand_as(light), rtol=0.02)


def test_encode_and_decode_are_those_of_srgb() -> None:
    v = np.linspace(0, 1, 20001, dtype=np.float32)
    assert np.abs(decode(torch.from_numpy(v)).numpy() - srgb_to_linear(v)).max() < 1e-6
    assert np.abs(encode(torch.from_numpy(v)).numpy() - linear_to_srgb(v)).max() < 1e-6
    below = torch.tensor([-0.5, 0.0, 0.002])  # straight
    assert torch.allclose(encode(below), 12.92 * below, atol=1e-6)
    assert torch.allclose(decode(encode(below)), below, atol=1e-6)


@pytest.mark.parametrize("size", [(4, 4), (5, 9), (32, 24)])
def test_the_detail_module_leaves_out_the_mean_of_3_by_3(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    mean = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    assert torch.allclose(_sum_around(x) / 9, mean, atol=1e-6)


def test_pixels_are_folded_before_the_first_convolution() -> None:
    network = lively_cascade()
    x = torch.rand(1, 3, 32, 40)
    tone = network.condition(torch.rand(1, 3, 64, 64)).tone
    base, low = network._low_level(x, tone)
    assert torch.equal(base, tone.base(x))
    folded = F.pixel_unshuffle(torch.cat([x, base], 1), FOLD)
    assert torch.allclose(low, activate(network.front(folded)), atol=1e-5)


def test_bands_of_rows_make_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "BAND", 200)
    x = torch.rand(2, 3, 34, 20)
    half = torch.rand(2, 1, 17, 10)
    seen = []

    def last(rows: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append((rows.shape[2], other.shape[2]))
        both = torch.cat([rows, F.interpolate(other, scale_factor=2.0)], 1).bfloat16()
        return both.contiguous(memory_format=torch.channels_last), rows.double()

    def around(rows: torch.Tensor) -> tuple[torch.Tensor]:
        return (F.avg_pool2d(rows, 7, 1, 3, count_include_pad=False),)

    with torch.inference_mode():
        both, wide = bands.in_bands(last, x, half)
        assert seen == [(8, 4)] * 4 + [(2, 1)]
        assert torch.equal(both, last(x, half)[0])
        assert both.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(wide, x.double())
        (planes,), (whole,) = bands.in_bands(around, x, halo=3), around(x)
        assert torch.allclose(planes, whole, atol=1e-6)
        assert planes.is_contiguous()
        assert not torch.allclose(bands.in_bands(around, x)[0], planes)


@given(shape=st.tuples(*[st.integers(1, 4)] * 4), last=st.booleans())
def test_folding_is_pixel_unshuffle(shape: tuple[int, int, int, int], last: bool) -> None:
    batch, channels, height, width = shape
    x = torch.rand(batch, channels, FOLD * height, FOLD * width)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    folded = fold(x)
    assert torch.equal(folded, F.pixel_unshuffle(x, FOLD))
    assert torch.equal(unfold(folded), x)


@given(shape=st.tuples(*[st.integers(1, 4)] * 4))
def test_the_blocks_transform_is_orthonormal(shape: tuple[int, int, int, int]) -> None:
    batch, channels, height, width = shape
    folded = torch.rand(batch, channels * FOLD**2, height, width)
    coefficients = dct(folded)
    assert torch.allclose(inverse_dct(coefficients), folded, atol=1e-6)
    assert torch.allclose((coefficients**2).sum(1), (folded**2).sum(1), atol=1e-4)
    light = folded.sum(1) / (channels * FOLD**2) ** 0.5
    assert torch.allclose(coefficients[:, 0], light, atol=1e-5)


def test_training_may_follow_inference() -> None:
    folded = torch.rand(1, 5 * FOLD**2, 2, 2)
    with torch.inference_mode():
        dct(folded)
    dct(folded.requires_grad_()).square().sum().backward()
    assert torch.allclose(folded.grad, 2 * folded, atol=1e-5)


def test_light_and_colours_are_apart() -> None:
    pixels = torch.zeros(3, 3, 2, 2)
    pixels[0] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # grey, across
    pixels[1] = torch.tensor([1.0, 0.0, -1.0])[:, None, None]  # red against blue, even
    pixels[2] = torch.tensor([1.0, -2.0, 1.0])[:, None, None]  # magenta against green
    found = dct(fold(pixels)).flatten(1).abs() > 1e-6
    assert [row.nonzero().flatten().tolist() for row in found] == [[0, 1], [4], [8]]


def test_a_gain_alone_smooths_blocks_and_keeps_their_means() -> None:
    tone = lively_cascade().train().condition(torch.rand(1, 3, 64, 64)).tone
    base, x = torch.rand(2, 1, 3, 16, 24) * 0.8  # below the knee of highlights
    gain = torch.tensor([0.0, -1.0, -1.0, -1.0]).repeat(3)[None, :, None, None]
    maps = torch.cat([gain, 0 * gain], 1).expand(1, 24, 8, 12)
    means = F.interpolate(F.avg_pool2d(base, FOLD), scale_factor=float(FOLD))
    assert torch.allclose(tone.picture(base, x, maps), means, atol=1e-6)


def changes(deviation: float, seed: int) -> torch.Tensor:
    """A change of the coefficients of 24 x 32 blocks, in display values."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 3, 4, 24, 32, generator=generator) * (deviation / 255)


@given(deviation=st.floats(0.01, 40), seed=st.integers(0, 99))
def test_only_what_is_visible_is_changed(deviation: float, seed: int) -> None:
    change = changes(deviation, seed)
    made = cored(change, torch.tensor([VISIBLE]))
    assert torch.equal(made[:, :, 0], change[:, :, 0])  # brightness and colour
    fine, wanted = (255 * c[:, :, 1:].std() for c in (made, change))
    assert fine <= wanted + 1e-6
    if deviation < 1:
        assert fine < 0.05 * wanted
    if deviation > 8:
        assert fine > 0.95 * wanted
    assert torch.allclose(cored(change, torch.zeros(1)), change, atol=1e-7)


def test_coring_looks_no_further_than_it_says() -> None:
    one = changes(2.5, 0)
    other = one.clone()
    other[0, 0, 1, 12, 16] += 0.1
    a, b = (cored(c, torch.tensor([VISIBLE])) for c in (one, other))
    rows, columns = ((a - b).abs().sum((0, 1, 2)) > 0).nonzero().T
    assert (int(rows.min()), int(rows.max())) == reach(12, 12)
    assert (int(columns.min()), int(columns.max())) == reach(16, 16)


def test_training_learns_from_the_weakest_change() -> None:
    network = lively_cascade()
    thumbnail = torch.rand(1, 3, 64, 64)
    assert float(network.condition(thumbnail).tone.visible) == pytest.approx(VISIBLE)
    assert float(network.train().condition(thumbnail).tone.visible) == 0


def test_conditioning_does_not_depend_on_the_batch() -> None:
    network = lively_cascade()
    thumbnails = torch.rand(3, 3, 64, 64) * 0.2
    with torch.inference_mode():
        together = network.condition(thumbnails)
        alone = network.condition(thumbnails[1:2])
    assert torch.allclose(together.grid[1:2], alone.grid, atol=1e-5)
    assert torch.allclose(together.tone.curve[1:2], alone.tone.curve, atol=1e-6)


def test_classic_is_the_published_cascade() -> None:
    network = ClassicCascade()
    x = torch.rand(2, 3, 48, 64)
    y = network(x)
    assert y.shape == x.shape
    assert len(network.unets) == 3
    assert all(latent.shape[1] == 3 for latent in network.latents(x))
    # A draft of the same author's later network with this U-Net counts 238 531 parameters in it.
    assert 200_000 < sum(p.numel() for p in network.unets[0].parameters()) < 260_000


def test_stages_are_detachable() -> None:
    for stages in (1, 2, 4):
        network = Cascade(CascadeConfig(stages=stages))
        x = torch.rand(1, 3, 32, 32)
        place = network.window_weights((0, 32), (0, 32), (32, 32))
        conditioning = network.condition(torch.rand(1, 3, 64, 64))
        assert network(x, conditioning, place, stages).shape == x.shape


def test_cards_of_shipped_weights_say_what_they_are_for() -> None:
    for path in cards.shipped().values():
        assert cards.purpose(path)
    assert cards.purpose(Path("none.safetensors")) == ""
