"""The mean of matching frames: receptive field, closed gates, shifts and light."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_dcr.network import frame_mean
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.network.frame_mean import PictureFeatures, mean_of_frames, picture_features
from napari_dcr.network.global_net import Conditioning, FrameMean, NoiseStage
from tests.conftest import lively_cascade

SIZE = 64

SIGMA = 0.02
"""Standard deviation of the noise in display values."""


@pytest.fixture(scope="module")
def network() -> Cascade:
    config = CascadeConfig(channels=1, widths=(8, 8, 8), base="counts", neighbours=(8, 8, 8))
    cascade = lively_cascade(config=config)
    stage = cascade.neighbours
    assert stage is not None
    with torch.no_grad():  # gates that are open wherever the light agrees
        stage.gate.weight.zero_()
        assert stage.gate.bias is not None
        stage.gate.bias.fill_(4.0)
    return cascade


def prepared(network: Cascade, binning: tuple[int, int] = (1, 1), size: int = SIZE) -> FrameMean:
    """Three colours of which the last has no estimate; the second one is compared."""
    colours: list[Conditioning | None] = []
    for _ in range(2):
        found = network.condition(torch.full((1, 1, 64, 64), 20.0), torch.tensor([0.0]))
        colours.append(found._replace(binning=binning))
    scale = torch.full((1, 3, 1, 1), 1 / SIGMA)
    noise = NoiseStage(scale, torch.zeros(1, 3, 1, 1), torch.ones(1, 1, 1, 1), (*colours, None))
    return FrameMean(noise, 1)


def features(network: Cascade, frames: Tensor, mean: FrameMean) -> list[PictureFeatures]:
    size = frames.shape[-1]
    weights = network.window_weights((0, size), (0, size), (size, size))
    with torch.no_grad():
        return [picture_features(network, frame[None], mean, weights) for frame in frames]


def noisy(count: int = 5, size: int = SIZE) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    scene = torch.rand(3, size, size)
    return scene, scene + SIGMA * torch.randn(count, 3, size, size)


@pytest.mark.parametrize("binning", [(1, 1), (3, 1), (3, 3)])
def test_frames_that_match_are_averaged_and_texture_is_kept(
    network: Cascade, binning: tuple[int, int]
) -> None:
    size = 96  # a multiple of the stride at every binning
    scene, frames = noisy(size=size)
    mean = prepared(network, binning)
    # Means of noise have less noise.
    factor = mean.noise.factor * (binning[0] * binning[1]) ** 0.5
    mean = mean._replace(noise=mean.noise._replace(factor=factor))
    centre, *others = features(network, frames, mean)
    result, counted = mean_of_frames(network, centre, others, mean)
    assert counted.mean() > 4.3
    noise = (result[0] - scene).std((1, 2))
    assert noise[:2].tolist() == pytest.approx([SIGMA / 5**0.5] * 2, rel=0.15)
    assert (result[0, 2] == frames[0, 2]).all()  # without an estimate


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (3, 5)])
def test_pixels_without_data_are_not_averaged(network: Cascade, shift: tuple[int, int]) -> None:
    """They are filled for the network, and often look as if they matched."""
    frames = torch.full((3, 3, SIZE, SIZE), 0.5)  # they match
    mean = prepared(network, (2, 2))
    mean = mean._replace(noise=mean.noise._replace(factor=2 * mean.noise.factor))
    centre, other, third = features(network, frames, mean)
    held = torch.ones(1, 1, SIZE, SIZE)
    held[..., 24:31, 21:37] = 0
    weights = network.window_weights((0, SIZE), (0, SIZE), (SIZE, SIZE))
    with torch.no_grad():
        holed = picture_features(network, frames[1:2], mean, weights, held)
    # What an unmarked hole would add:
    other, holed = (each._replace(x=each.x + 0.1 * (held == 0)) for each in (other, holed))
    neighbours = [[n and n.aligned(*shift, (2, 2)), third] for n in (other, holed, None)]
    with_hole, marked, without = (
        mean_of_frames(network, centre, each, mean)[0][0, :2] for each in neighbours
    )
    rows, columns = slice(24 - shift[0], 31 - shift[0]), slice(21 - shift[1], 37 - shift[1])
    assert (with_hole - without)[:, rows, columns].abs().min() > 0.01
    assert (marked - without)[:, rows, columns].abs().max() == 0
    assert torch.equal(marked[:, 44:], with_hole[:, 44:])


def test_where_the_light_differs_the_frame_is_kept_exactly(network: Cascade) -> None:
    scene, frames = noisy()
    frames[1:, 1, :32] += 0.3  # the compared colour
    frames[1:, 0, :, :24] -= 0.3  # another colour
    mean = prepared(network)
    centre, *others = features(network, frames, mean)
    result, counted = mean_of_frames(network, centre, others, mean)
    assert (result[0, :, :20] == frames[0, :, :20]).all()
    assert (result[0, 0, :, :14] == frames[0, 0, :, :14]).all()
    assert (counted[..., :10, :] == 1).all()
    assert (result[0, 1, 48:] - scene[1, 48:]).std() < 0.6 * SIGMA


def test_differences_that_cancel_out_in_larger_areas_are_found(network: Cascade) -> None:
    _, frames = noisy()
    rows, columns = torch.meshgrid(torch.arange(SIZE) // 2, torch.arange(SIZE) // 2, indexing="ij")
    pattern = 1.8 * SIGMA * (1 - 2 * ((rows + columns) % 2)) * (rows < SIZE // 4)
    frames[0, 0] += pattern
    frames[1:, 0] -= pattern
    mean = prepared(network)
    centre, *others = features(network, frames, mean)
    result, _ = mean_of_frames(network, centre, others, mean)
    changes = (result[0, 0] - frames[0, 0]).abs()
    assert changes[: SIZE // 2].mean() < 0.1 * SIGMA
    assert changes[SIZE // 2 :].mean() > 0.5 * SIGMA


def test_the_edge_of_a_small_object_is_not_averaged(network: Cascade) -> None:
    _, frames = noisy()
    mean = prepared(network, (2, 2))
    mean = mean._replace(noise=mean.noise._replace(factor=2 * mean.noise.factor))
    # In the middle one of three places of 4 x 4 pixels, what the object hides and shows cancels out,
    # as it does in the means around it.
    rows = slice(20, 24)
    profile = torch.tensor([-0.2] * 4 + [-0.2] * 2 + [0.2] * 2 + [0.2] * 4)
    frames[1:, :, rows, 16:28] += profile
    centre, *others = features(network, frames, mean)
    result, _ = mean_of_frames(network, centre, others, mean)
    assert (result[0, :, rows, 16:28] == frames[0, :, rows, 16:28]).all()
    assert (result[0, :2, 40:] - frames[0, :2, 40:]).abs().mean() > 0.5 * SIGMA


def test_missing_neighbours_change_nothing(network: Cascade) -> None:
    _, frames = noisy()
    mean = prepared(network)
    centre = features(network, frames[:1], mean)[0]
    result, counted = mean_of_frames(network, centre, [None] * 4, mean)
    assert (result == centre.x).all()
    assert (counted == 1).all()


@pytest.mark.parametrize("binning", [(1, 1), (3, 3)])
@pytest.mark.parametrize(("down", "across"), [(3, -2), (0, 5)])
def test_shifted_neighbours_are_moved_to_their_place(
    network: Cascade, down: int, across: int, binning: tuple[int, int]
) -> None:
    size = 96
    scene, frames = noisy(size=size)
    moved = torch.roll(scene, (down, across), (1, 2)) + SIGMA * torch.randn(3, size, size)
    mean = prepared(network, binning)
    # Means of noise have less noise; interpolated ones of this scene, which is white, differ more.
    factor = mean.noise.factor * (1.0 if binning == (1, 1) else 0.1)
    mean = mean._replace(noise=mean.noise._replace(factor=factor))
    centre, other = features(network, torch.stack([frames[0], moved]), mean)
    with torch.no_grad():
        moved_back = other.aligned(down, across, binning)
        result, _ = mean_of_frames(network, centre, [moved_back], mean)
    inside = slice(18, -18)
    noise = (result[0, :2, inside, inside] - scene[:2, inside, inside]).std()
    assert float(noise) == pytest.approx(SIGMA / 2**0.5, rel=0.1)
    # Pixels that the neighbour does not show.
    edge = {3: (slice(-3, None), slice(None)), 0: (slice(None), slice(-5, None))}[down]
    assert (result[0][:, *edge] == frames[0][:, *edge]).all()


def test_neighbours_of_other_light_are_scaled(network: Cascade) -> None:
    scene, frames = noisy()
    other = 0.5 * frames[1] + 0.1
    mean = prepared(network)
    centre, neighbour = features(network, torch.stack([frames[0], other]), mean)
    scaled = neighbour.scaled(0.5, 0.1, mean, mean)
    assert torch.allclose(scaled.x[0], frames[1], atol=1e-6)
    result, _ = mean_of_frames(network, centre, [scaled], mean)
    noise = (result[0, :2] - scene[:2]).std((1, 2))
    assert noise.tolist() == pytest.approx([SIGMA / 2**0.5] * 2, rel=0.1)


def test_pixels_beyond_the_receptive_field_do_not_change_the_mean(network: Cascade) -> None:
    reach = network.receptive_field(frame_mean.DEPTH, neighbours=True)
    size = 8 * (2 * reach // 8 + 4)
    _, frames = noisy(2, size)
    mean = prepared(network)
    middle = size // 2
    results = []
    for changed in (False, True):
        if changed:
            outside = torch.ones(size, size, dtype=torch.bool)
            outside[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1] = (
                False
            )
            frames[:, :, outside] = torch.rand(int(outside.sum()))
        centre, other = features(network, frames, mean)
        results.append(mean_of_frames(network, centre, [other], mean)[0][0, :, middle, middle])
    assert (results[0] == results[1]).all()
