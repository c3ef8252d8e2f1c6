"""The recordings on which the correction of sensor defects is measured."""

from __future__ import annotations

import numpy as np
import pytest

from napari_dcr.training.evaluation import defect_recordings


@pytest.mark.parametrize("kind", ["columns", "rows", "both"])
def test_offsets_have_one_electron_and_no_mean(kind: str) -> None:
    pattern = defect_recordings.offsets(kind, (300, 200), np.random.default_rng(0))
    electrons = pattern / 2.2
    assert abs(electrons.mean()) < 1e-9
    wanted = 2**0.5 if kind == "both" else 1
    assert electrons.std() == pytest.approx(wanted, rel=0.15)
    assert (np.ptp(pattern, 0).max() < 1e-9) == (kind == "columns")
