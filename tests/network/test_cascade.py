"""The cascade has the declared receptive field, and every exit is a usable image."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from napari_dcr.network import weights
from napari_dcr.network.activation import activate
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.folding import FOLD
from napari_dcr.network.tone import decode, encode
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
@pytest.mark.parametrize("depth", [0, 1, 2, pytest.param(3, marks=pytest.mark.slow)])
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
    """Detect pooling in functions, which a search for modules cannot find: far pixels must have no effect."""
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


def test_pixels_are_folded_before_the_first_convolution() -> None:
    network = lively_cascade()
    x = torch.rand(1, 3, 32, 40)
    tone = network.condition(torch.rand(1, 3, 64, 64)).tone
    base, low = network._low_level(x, tone)
    assert torch.equal(base, tone.base(x))
    folded = F.pixel_unshuffle(torch.cat([x, base], 1), FOLD)
    assert torch.allclose(low, activate(network.front(folded)), atol=1e-5)


def test_stages_are_detachable() -> None:
    for stages in (1, 2, 4):
        network = Cascade(CascadeConfig(stages=stages))
        x = torch.rand(1, 3, 32, 32)
        place = network.window_weights((0, 32), (0, 32), (32, 32))
        conditioning = network.condition(torch.rand(1, 3, 64, 64))
        assert network(x, conditioning, place, stages).shape == x.shape
