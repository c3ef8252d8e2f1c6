"""The check of neighbouring frames, on a stage that averages all frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_dcr.image.frame_matches import Match
from napari_dcr.network.cascade import Cascade
from napari_dcr.training.evaluation import neighbour_checks as checks
from tests.conftest import COUNTS


@pytest.fixture
def averaging(monkeypatch: pytest.MonkeyPatch) -> Cascade:
    """A network that changes no single frame, and adds the mean difference of all five frames."""
    # Gates stay open where frames differ.
    monkeypatch.setattr("napari_dcr.network.neighbours.MATCH", 1e30)
    monkeypatch.setattr("napari_dcr.network.neighbours.DIFFER", 2e30)
    torch.manual_seed(0)
    network = Cascade(replace(COUNTS, widths=(8, 8, 8), neighbours=(8, 8, 8))).eval()
    stage = network.neighbours
    assert stage is not None
    with torch.no_grad():
        stage.gate.weight.zero_()
        stage.gate.bias.fill_(20)  # type: ignore[union-attr]
        for pixel in range(4):
            stage.head.weight[pixel, 8 + 4 + pixel, 1, 1] = 1
    return network


def test_the_mean_of_five_static_frames_gains_seven_decibels(averaging: Cascade) -> None:
    rng = np.random.default_rng(0)
    light = checks.MOTIONS["static"](*checks.scenes(0, rng, 64), rng)
    gain = checks.measure(averaging, light, 100, (1, 2))
    assert gain.gain == pytest.approx(10 * np.log10(5), abs=0.5)
    assert gain.within_single == pytest.approx(0.68, abs=0.05)
    assert gain.within_fused > 0.9  # nothing has narrowed the standard errors


def test_hard_scenes_are_of_all_kinds_and_lose_by_a_mean_of_all_frames(
    averaging: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = dict(_gains(averaging))
    assert set(gains) == set(checks.HARD)
    assert gains["static"] > 5
    assert gains["saturated frame"] > 0  # it is left out
    monkeypatch.setattr(checks, "find_match", lambda first, second: Match())
    assert dict(_gains(averaging))["saturated frame"] < -1


def _gains(averaging: Cascade) -> Iterator[tuple[str, float]]:
    for kind, _, gain in checks.hard_scenes(averaging, len(checks.HARD), 48):
        assert np.isfinite(gain.gain)
        yield kind, gain.gain


def test_a_mean_smears_transients_and_keeps_the_bleaching(
    averaging: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "RECORDINGS", 1)
    short = next(checks.transients(averaging, 64))
    assert short.duration == 1
    assert short.peak < 0.5
    assert short.before > 0.05
    curves = next(checks.bleaching(averaging))
    assert curves.largest < 0.05
    assert abs(curves.mean) < curves.largest
    assert 0 < curves.fused < 0.2


def test_a_lamp_that_flickers_is_compensated(
    averaging: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "FLICKER", (0.2,))
    monkeypatch.setattr(checks, "PEAKS", (100,))
    [(flicker, [gain])] = checks.flickering(averaging, 1)
    assert flicker == 0.2
    assert gain > 5
