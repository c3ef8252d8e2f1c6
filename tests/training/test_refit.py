"""Refitting two layers: what they gain, that nothing else changes, errors."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade, CascadeConfig
from napari_dcr.training import refit as command
from napari_dcr.training.data import PhotoPairs
from napari_dcr.training.head_fit import NormalEquations, fit_head, head_equations, slow_part
from napari_dcr.training.loop import TrainingConfig
from napari_dcr.training.refit import refit
from napari_dcr.training.tone_fit import Thumbnails, distil_tone_head, tone_thumbnails

SHAPE = CascadeConfig(stages=1, widths=(4, 4, 4), grid_channels=4)

MEANS = [0, 4, 8, 12, 16, 20]
"""Rows of the head for the means of blocks: gains, then biases, of luma and two chroma components."""

COUNT = 12


@pytest.fixture(scope="module")
def pairs(photographs: Path) -> PhotoPairs:
    """Pairs of which about half are drawings, whose target is the picture itself."""
    files = sorted((photographs / "pictures").iterdir())
    return PhotoPairs(files, 96, COUNT, seed=3, drawn=0.5)


@pytest.fixture(scope="module")
def rough() -> Cascade:
    """A small cascade whose curve and whose head change every picture."""
    torch.manual_seed(0)
    cascade = Cascade(SHAPE).eval()
    with torch.no_grad():
        cascade.head.weight.normal_(0, 0.02)
        cascade.head.bias.normal_(0, 0.05)
        cascade.global_net.tone_head.weight.normal_(0, 0.05)
    return cascade


@pytest.fixture(scope="module")
def network(rough: Cascade, pairs: PhotoPairs) -> Cascade:
    """The same with a better curve: the head is fitted only where the curve is nearly right."""
    return distil_tone_head(rough, tone_thumbnails(rough, pairs, COUNT), passes=400)


@pytest.fixture(scope="module")
def equations(network: Cascade, pairs: PhotoPairs) -> tuple[NormalEquations, NormalEquations]:
    return head_equations(network, pairs, COUNT)


def slow_errors(network: Cascade, pairs: PhotoPairs) -> list[tuple[float, float]]:
    """Slow error, in levels of 255, of the curve and of the result, for each kept pair."""
    errors = []
    for pair in (pairs[index] for index in range(COUNT)):
        if pair["kept"]:
            x, target = pair["input"][None], pair["target"][None]
            place = pair["rows"][None], pair["columns"][None]
            with torch.inference_mode():
                conditioning = network.condition(pair["thumbnail"][None])
                exits = network(x, conditioning, place, 1, exits=(0, 1))
            slow = [slow_part(picture.clamp(0, 1) - target) for picture in exits]
            curve, result = (float(255 * part.square().mean().sqrt()) for part in slow)
            errors.append((curve, result))
    return errors


def changed(one: Cascade, other: Cascade) -> set[str]:
    """Names of the weights that differ."""
    state = other.state_dict()
    return {k for k, v in one.state_dict().items() if not torch.equal(v, state[k])}


def test_the_head_lowers_the_slow_error_of_kept_pictures(
    network: Cascade, pairs: PhotoPairs, equations: tuple[NormalEquations, NormalEquations]
) -> None:
    fitted = fit_head(network, *equations)
    before, after = slow_errors(network, pairs), slow_errors(fitted, pairs)
    # A picture whose curve is wrong counts little, because the head must not correct the curve.
    right = [index for index, (curve, _) in enumerate(before) if curve < 2]
    assert len(right) >= 3
    assert all(after[index][1] < 0.95 * before[index][1] for index in right)
    old, new = (sum(errors[index][1] for index in right) for errors in (before, after))
    assert new < 0.75 * old


def test_other_pictures_keep_the_head_from_changing(
    network: Cascade, equations: tuple[NormalEquations, NormalEquations]
) -> None:
    kept, others = equations
    empty = NormalEquations.empty(*kept.vector.shape)
    free, held = fit_head(network, kept, empty), fit_head(network, kept, others)

    def change(fitted: Cascade) -> float:
        """Mean square of the change of other pictures, as far as it is linear."""
        weight, bias = (
            (getattr(fitted.head, name) - getattr(network.head, name)).detach().double()
            for name in ("weight", "bias")
        )
        rows = torch.cat([weight.flatten(1), bias[:, None]], 1)[MEANS].unflatten(0, (2, -1))
        vectors = torch.cat([rows[0], rows[1]], 1)
        return float(torch.einsum("ci,cij,cj->", vectors, others.matrix, vectors))

    assert change(held) < 0.8 * change(free)


def test_only_rows_of_means_change(
    network: Cascade, equations: tuple[NormalEquations, NormalEquations]
) -> None:
    before = {k: v.clone() for k, v in network.state_dict().items()}
    fitted = fit_head(network, *equations)
    assert changed(network, fitted) == {"head.weight", "head.bias"}
    rows = (fitted.head.weight != network.head.weight).flatten(1).any(1)
    assert rows.nonzero().flatten().tolist() == MEANS
    assert fitted.head.bias is not None
    assert network.head.bias is not None
    assert (fitted.head.bias != network.head.bias).nonzero().flatten().tolist() == MEANS
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_pairs_without_a_kept_picture_are_an_error(
    network: Cascade, equations: tuple[NormalEquations, NormalEquations]
) -> None:
    empty = NormalEquations.empty(*equations[0].vector.shape)
    with pytest.raises(ValueError, match="pairs: got none whose target is its input"):
        fit_head(network, empty, equations[1])


def curve_errors(network: Cascade, data: Thumbnails) -> torch.Tensor:
    """Mean error of the curve's result for each thumbnail."""
    net = network.global_net
    assert net.decoder is not None
    with torch.inference_mode():
        tone = net.decoder(net.tone_head(data.summary), data.level)
        error = tone.picture(tone.base(data.picture), data.picture) - data.target
    return error.abs().mean((1, 2, 3))


def test_curves_of_kept_pictures_approach_the_identity(rough: Cascade, pairs: PhotoPairs) -> None:
    data = tone_thumbnails(rough, pairs, COUNT)
    fitted = distil_tone_head(rough, data)
    assert changed(rough, fitted) == {"global_net.tone_head.weight", "global_net.tone_head.bias"}
    before, after = curve_errors(rough, data), curve_errors(fitted, data)
    same = data.kept & ((data.picture - data.target).abs().amax((1, 2, 3)) < 0.05)
    assert same.any()
    assert after[same].mean() < 0.95 * before[same].mean()


def test_targets_of_dim_pictures_are_natural_in_even_light_and_present_results_in_uneven_light(
    rough: Cascade, pairs: PhotoPairs
) -> None:
    data = tone_thumbnails(rough, pairs, COUNT)
    scenes = [pairs.scene(index) for index in range(COUNT)]
    parted = torch.tensor([scene.shot.light.parted for _, scene, _ in scenes])
    assert (~data.kept & parted).any()
    assert (~data.kept & ~parted).any()
    errors = curve_errors(rough, data)
    assert errors[~data.kept & parted].max() < 1e-6  # the result of the present curve
    assert errors[~data.kept & ~parted].min() > 0.03
    for index in (~data.kept & ~parted).nonzero().flatten().tolist():
        photograph, scene, _ = scenes[index]
        natural = scene.natural(photograph).mean()
        assert float(data.target[index].mean()) == pytest.approx(natural, abs=0.03)


def test_the_command_repeats_its_result(
    network: Cascade,
    photographs: Path,
    config: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shape = {**SHAPE.to_dict(), "neighbours": None}
    config = dataclasses.replace(config, network=shape, data={**config.data, "drawn": 0.5})
    monkeypatch.setattr(command, "PAIR_CROP", 96)
    monkeypatch.setattr(command.TrainingConfig, "read", lambda _: config)
    start = tmp_path / "start.safetensors"
    weights.save(network, start, {})
    made = []
    for name in ("one.safetensors", "two.safetensors"):
        arguments = [f"1:{start}", "--data", str(photographs), "--out", str(tmp_path / name)]
        command.main([*arguments, "--pairs", "4", "--thumbnails", "4"])
        made.append(weights.load(tmp_path / name))
    assert not changed(made[0].network, made[1].network)
    assert made[0].sha256 in capsys.readouterr().out
    assert made[0].training["refit"]["pairs"] == 4
    assert changed(network, made[0].network) == {
        "head.weight",
        "head.bias",
        "global_net.tone_head.weight",
        "global_net.tone_head.bias",
    }


def test_a_folder_without_pictures_is_an_error(
    network: Cascade, config: TrainingConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match="data: got the folder .*pictures without pictures"):
        refit(network, config, tmp_path, pairs=1, thumbnails=1)


def test_a_network_without_a_tone_curve_is_an_error(
    photographs: Path, config: TrainingConfig
) -> None:
    counts = Cascade(CascadeConfig(1, 1, (4, 4, 4), 4, "counts"))
    with pytest.raises(ValueError, match="got one with the base 'counts'; allowed is 'curve'"):
        refit(counts, config, photographs, pairs=1, thumbnails=1)


def test_without_pairs_the_head_stays_as_it_is(
    network: Cascade, photographs: Path, config: TrainingConfig
) -> None:
    fitted = refit(network, config, photographs, pairs=0, thumbnails=2)
    assert changed(network, fitted) == {"global_net.tone_head.weight", "global_net.tone_head.bias"}


def test_without_pairs_and_thumbnails_the_network_stays_as_it_is(
    network: Cascade, photographs: Path, config: TrainingConfig
) -> None:
    assert not changed(network, refit(network, config, photographs, pairs=0, thumbnails=0))


@pytest.mark.parametrize("argument", ["pairs", "thumbnails"])
def test_too_small_a_number_is_an_error(
    network: Cascade, photographs: Path, config: TrainingConfig, argument: str
) -> None:
    with pytest.raises(ValueError, match=f"{argument}: got -1; allowed are integers from 0"):
        refit(network, config, photographs, **{argument: -1})
