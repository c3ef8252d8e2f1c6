"""The checks of kinds of noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_dcr.training.evaluation import noise_checks
from napari_dcr.training.evaluation.noise_checks import KINDS, record


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_are_seeded_and_their_mean_is_the_expectation(kind: str) -> None:
    case = record(kind, 20, 0, 128)
    np.testing.assert_array_equal(case.values, record(kind, 20, 0, 128).values)
    assert (case.values != record(kind, 20, 1, 128).values).any()
    error = case.values - case.expected
    variance = case.noise.deviation(case.expected) ** 2
    assert abs(error.mean()) < 0.2 * np.sqrt(variance.mean())
    share = 0.4 if kind in ("clipped", "saturated") else 0.75
    assert share < (error**2).mean() / variance.mean() < 1.3


def test_the_checks_print_their_tables(
    lively_counts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise_checks.main(
        ["--model", str(lively_counts), "--scenes", "1", "--size", "64", "--kinds", "sparse"]
    )
    printed = capsys.readouterr().out
    assert "ours, noise known" in printed
    assert printed.count("| sparse | 20 |") == 3
