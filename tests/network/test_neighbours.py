"""The stage of neighbouring frames: exact receptive field, missing frames, and closed gates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.folding import fold, unfold
from napari_dcr.network.global_net import Conditioning
from napari_dcr.network.neighbours import Comparison, FrameFeatures, NeighbourStage
from napari_dcr.network.variance_stabilization import Counts
from tests.conftest import COUNTS, lively_cascade
from tests.network.test_cascade import positive_cascade, spatial_statistics

SMALL = replace(COUNTS, widths=(8, 8, 8), neighbours=(8, 8, 8))

SIZE = 64


def conditioned(network: Cascade, size: int = SIZE) -> tuple[Conditioning, tuple[Tensor, Tensor]]:
    thumbnail = 10 * torch.rand(1, 1, 64, 64)
    conditioning = network.condition(thumbnail, torch.tensor([0.7]))
    return conditioning, network.window_weights((0, size), (0, size), (size, size))


def features(
    network: Cascade, frames: Tensor, depth: int, detail: bool = True
) -> tuple[list[FrameFeatures], Conditioning]:
    """Features of every frame of (n, H, W)."""
    torch.manual_seed(3)
    conditioning, place = conditioned(network, frames.shape[-1])
    parts = [
        network.frame_features(frame[None, None], conditioning, place, depth, detail)
        for frame in frames
    ]
    return parts, conditioning


def noisy_frames(count: int = 5) -> Tensor:
    torch.manual_seed(4)
    return 20 * torch.rand(SIZE, SIZE) + torch.randn(count, SIZE, SIZE)


@pytest.mark.parametrize("depth", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_receptive_field_is_the_support_of_the_gradient(depth: int) -> None:
    network = positive_cascade(SMALL)
    radius = network.receptive_field(depth, neighbours=True)
    assert radius > network.receptive_field(depth)
    size = 2 * (radius // 8 + 2) * 8
    middle = size // 16 * 8
    with torch.no_grad():
        conditioning, place = conditioned(network, size)
    counts = conditioning.tone._replace(curvature=conditioning.tone.curvature.double())
    conditioning = Conditioning(counts, conditioning.grid.double())  # type: ignore[arg-type]
    rows, columns = (w.double() for w in place)
    reached = [0, 0]
    # The radius is reached on both sides of a block's middle; other positions are left out to save time.
    for phase in (network.stride // 2 - 1, network.stride // 2):
        y = x = middle + phase
        frames = [torch.rand(1, 1, size, size, dtype=torch.float64) for _ in range(3)]
        inputs = [frame.requires_grad_() for frame in frames[:2]]  # a neighbour, and the frame
        parts = [network.frame_features(f, conditioning, (rows, columns), depth) for f in frames]
        out = network.fuse(parts[1], [parts[0], parts[2]], conditioning)
        out[0, :, y, x].sum().backward()
        for which, frame in enumerate(inputs):
            assert frame.grad is not None
            places = [hit.tolist() for hit in (frame.grad[0, 0] != 0).nonzero().T]
            for at, hits in zip((y, x), places, strict=True):
                reached[which] = max(reached[which], at - min(hits), max(hits) - at)
    assert reached == [radius, radius]


@pytest.mark.parametrize("detail", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_without_neighbours_the_result_is_that_of_the_single_frame(
    depth: int, detail: bool
) -> None:
    network = lively_cascade(config=SMALL)
    frame = noisy_frames(1)
    with torch.inference_mode():
        [part], conditioning = features(network, frame, depth, detail)
        place = network.window_weights((0, SIZE), (0, SIZE), (SIZE, SIZE))
        alone = network(frame[None], conditioning, place, depth, detail)
        for count in (2, 4):
            assert torch.equal(network.fuse(part, [None] * count, conditioning), alone)


def test_neighbours_change_the_result_and_their_order_matters() -> None:
    network = lively_cascade(config=SMALL)
    with torch.inference_mode():
        (a, b, c, d, e), conditioning = features(network, noisy_frames(), 2)
        alone = network.fuse(c, [None] * 4, conditioning)
        fused = network.fuse(c, [a, b, d, e], conditioning)
        turned = network.fuse(c, [e, d, b, a], conditioning)
    assert (fused - alone).abs().max() > 1e-2
    assert (fused - turned).abs().max() > 1e-3


def test_any_neighbours_may_be_missing() -> None:
    """A missing frame leaves the result that the other frames give."""
    network = lively_cascade(config=SMALL)
    assert network.neighbours is not None
    with torch.inference_mode():
        (a, b, c, d, e), conditioning = features(network, noisy_frames(), 2)
        one = network.fuse(c, [b, d], conditioning)
        assert torch.equal(one, network.fuse(c, [None, b, d, None], conditioning))
        hidden = network.neighbours(c, [a, b, d, e], torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
        assert torch.allclose(hidden, network.neighbours(c, [b, d]), atol=1e-5)
        last = network.fuse(c, [a, b, None, None], conditioning)
        assert (last - one).abs().max() > 1e-3


def test_closed_gates_leave_the_single_frame_as_it_is() -> None:
    network = lively_cascade(config=SMALL)
    assert network.neighbours is not None
    with torch.inference_mode():
        network.neighbours.gate.bias.fill_(-50)  # type: ignore[union-attr]
        (a, b, c, d, e), conditioning = features(network, noisy_frames(), 2)
        alone = network.fuse(c, [None] * 4, conditioning)
        assert torch.equal(network.fuse(c, [a, b, d, e], conditioning), alone)


def test_an_untrained_stage_adds_nothing() -> None:
    network = Cascade(SMALL).eval()
    with torch.inference_mode():
        (a, b, c, d, e), conditioning = features(network, noisy_frames(), 3)
        alone = network.fuse(c, [None] * 4, conditioning)
        assert torch.equal(network.fuse(c, [a, b, d, e], conditioning), alone)


def test_pixels_beyond_the_receptive_field_do_not_matter() -> None:
    network = lively_cascade(config=SMALL)
    radius = network.receptive_field(1, neighbours=True)
    width = (2 * radius // 8 + 4) * 8
    frames = 10 * torch.rand(3, 1, 1, 64, width)
    changed = frames.clone()
    changed[..., -16:] = 10 * torch.rand(3, 1, 1, 64, 16)
    conditioning, _ = conditioned(network)
    place = network.window_weights((0, 64), (0, width), (64, width))
    results = []
    with torch.inference_mode():
        for stack in (frames, changed):
            a, b, c = (network.frame_features(f, conditioning, place, 1) for f in stack)
            results.append(network.fuse(b, [a, c], conditioning)[..., : width - 16 - radius])
    assert (results[0] - results[1]).abs().max() < 1e-5


def test_the_stage_has_no_spatial_statistics() -> None:
    assert spatial_statistics(Cascade(SMALL)) == []


def test_weights_files_hold_the_stage_and_those_without_load_as_before(tmp_path: Path) -> None:
    network = lively_cascade(config=SMALL)
    path = tmp_path / "both.safetensors"
    weights.save(network, path, {})
    loaded = weights.load(path).network
    assert loaded.config == SMALL
    assert isinstance(loaded.neighbours, NeighbourStage)
    states = zip(loaded.state_dict().values(), network.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in states)

    plain = tmp_path / "plain.safetensors"
    weights.save(lively_cascade(config=COUNTS), plain, {})
    assert weights.load(plain).network.neighbours is None
    assert b"neighbours" not in plain.read_bytes()


def test_what_has_no_neighbours_says_so() -> None:
    with pytest.raises(ValueError, match="^neighbours: got widths .* base 'curve'"):
        Cascade(CascadeConfig(neighbours=(8, 8, 8)))
    with pytest.raises(ValueError, match="^neighbours: got True for a network without"):
        Cascade(COUNTS).receptive_field(1, neighbours=True)
    network = lively_cascade(config=SMALL)
    (a, b, _), conditioning = features(network, noisy_frames(3), 1)
    with pytest.raises(ValueError, match=r"^neighbours: got 1 frames; allowed are 2 or 4"):
        network.fuse(b, [a], conditioning)


def test_low_precision_covers_the_stage() -> None:
    network = lively_cascade(config=SMALL)
    frames = noisy_frames(3)
    results = []
    with torch.inference_mode():
        for local in (network, network.with_precision(torch.bfloat16)):
            (a, b, c), conditioning = features(local, frames, 2)
            results.append(local.fuse(b, [a, c], conditioning))
    exact, low = results
    assert low.dtype == torch.float32
    assert not torch.equal(exact, low)
    assert (exact - low)[:, 0].abs().max() < 0.3  # standard deviations of the noise


@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (3, -5), (-2, 4), (-7, -1), (SIZE + 3, 0)])
def test_pixels_of_a_shifted_neighbour_are_moved_exactly(shift: tuple[int, int]) -> None:
    frames = noisy_frames(1)
    (own,), _ = features(lively_cascade(config=SMALL), frames, 1)
    aligned = own.aligned(*shift)
    down, across = shift
    assert aligned.compared.present is not None
    present = unfold(aligned.compared.present.repeat(1, 4, 1, 1))[0, 0].bool()
    y, x = torch.meshgrid(torch.arange(SIZE) + down, torch.arange(SIZE) + across, indexing="ij")
    inside = (y >= 0) & (y < SIZE) & (x >= 0) & (x < SIZE)
    # Folded pixels that lie partly outside count as missing.
    assert not present[~inside].any()
    assert (inside & ~present).sum() <= 2 * 2 * SIZE
    for name in ("pixels", "estimate", "variance"):
        before, after = (unfold(getattr(each.compared, name))[0, 0] for each in (own, aligned))
        assert torch.equal(after[present], before[y[present], x[present]])
    assert aligned.encoding.shape == own.encoding.shape
    if down % 2 == across % 2 == 0:
        folded = present[::2, ::2]
        there = own.encoding[0, :, (y // 2)[::2, ::2][folded], (x // 2)[::2, ::2][folded]]
        assert torch.equal(aligned.encoding[0][:, folded], there)


@pytest.mark.parametrize("curvature", [0.0, 0.7])
def test_a_neighbour_with_other_light_is_scaled_with_its_noise(curvature: float) -> None:
    network = lively_cascade(config=SMALL)
    stage = network.neighbours
    assert stage is not None
    torch.manual_seed(5)
    light, counts = (
        torch.full((1, 1, SIZE, SIZE), 50.0),
        Counts(torch.full((1, 1, 1, 1), curvature)),
    )
    ratio, addend = 0.6, 4.0
    dim = ratio * light + addend
    dim = dim + counts.deviation(dim) * torch.randn_like(dim)
    pixels = fold(counts.stabilise(dim))
    estimate = fold(counts.stabilise(ratio * light + addend))
    (own,), _ = features(network, noisy_frames(1), 1)
    own = own._replace(compared=Comparison(pixels, estimate, torch.full_like(pixels, 0.1)))
    whole = stage.scaled(own, ratio, addend, counts, counts)
    scaled = whole.compared
    expected = counts.stabilise(light)[0, 0, 0, 0]
    assert torch.allclose(scaled.estimate, expected.expand_as(scaled.estimate), atol=1e-4)
    assert scaled.pixels.mean() == pytest.approx(float(expected), abs=0.1)
    assert scaled.noise is not None
    assert float((scaled.pixels - expected).var()) == pytest.approx(
        float(scaled.noise.mean()), rel=0.1
    )
    assert torch.allclose(scaled.variance, 0.1 * scaled.noise)
    moved = whole.aligned(3, -2).compared
    assert moved.noise is not None
    assert moved.noise.shape == scaled.noise.shape


def test_scaled_light_opens_gates_that_are_closed_without_it() -> None:
    network = lively_cascade(config=SMALL)
    assert network.neighbours is not None
    with torch.no_grad():
        assert network.neighbours.gate.bias is not None
        network.neighbours.gate.bias.fill_(50)
    frames = torch.full((2, SIZE, SIZE), 20.0) + torch.randn(2, SIZE, SIZE) / 8
    frames[1] *= 0.6
    (centre, other), conditioning = features(network, frames, 1)
    counts = conditioning.tone
    assert isinstance(counts, Counts)
    _, (gate,) = network.neighbours.gated(centre, [None, other])
    assert (gate == 0).all()
    other = network.neighbours.scaled(other, 0.6, 0.0, counts, counts)
    _, (gate,) = network.neighbours.gated(centre, [None, other])
    assert (gate > 0.99).all()


def test_a_visible_difference_closes_every_gate_with_any_weights() -> None:
    network = lively_cascade(config=SMALL)
    assert network.neighbours is not None
    with torch.no_grad():
        assert network.neighbours.gate.bias is not None
        network.neighbours.gate.bias.fill_(50)  # as open as weights can make it
    frames = torch.full((2, SIZE, SIZE), 20.0)
    frames[1, 16:48, 16:48] += 5  # more than the noise of a mean, less than that of a pixel
    (centre, other), _ = features(network, frames, 1)
    _, (gate,) = network.neighbours.gated(centre, [None, other])[0:2]
    # Further inside than the half side of the largest area, in folded pixels.
    assert (gate[0, 0, 12:20, 12:20] == 0).all()
    assert (gate[0, 0, :3, :3] > 0.99).all()
