"""The checks of sensors' defects: what they record, and their tables."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.training.evaluation import defect_checks


@pytest.mark.parametrize("kind", ["columns", "rows", "both"])
def test_offsets_have_one_electron_and_no_mean(kind: str) -> None:
    pattern = defect_checks.offsets(kind, (300, 200), np.random.default_rng(0))
    electrons = pattern / 2.2
    assert abs(electrons.mean()) < 1e-9
    wanted = 2**0.5 if kind == "both" else 1
    assert electrons.std() == pytest.approx(wanted, rel=0.15)
    assert (np.ptp(pattern, 0).max() < 1e-9) == (kind == "columns")


def test_ripple_sees_offsets_of_columns_alone() -> None:
    rng = np.random.default_rng(1)
    columns, rows = rng.normal(0, 3, 200), rng.normal(0, 3, (300, 1))
    assert defect_checks.ripple(columns + np.zeros((300, 1))) > 2
    assert defect_checks.ripple(rows + np.zeros(200)) < 1e-9


def test_the_cost_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    defect_checks.main(["--only", "cost"])
    assert "Survey of 2048 x 2048 uint16" in capsys.readouterr().out
