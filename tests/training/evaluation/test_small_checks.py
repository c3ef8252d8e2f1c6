"""Checks of small images: reproducible recordings, and the table."""

from __future__ import annotations

import re

import numpy as np
import pytest

from napari_dcr.training.evaluation import small_checks


def test_recordings_are_reproducible_and_small() -> None:
    first, again = (list(small_checks.recordings(6)) for _ in range(2))
    for case, same in zip(first, again, strict=True):
        assert np.array_equal(case.values, same.values)
        assert all(8 <= side <= 40 for side in case.values.shape)
        assert case.values.shape == case.expected.shape


def test_the_table_counts_all_images(capsys: pytest.CaptureFixture[str]) -> None:
    small_checks.main(["--images", "12", "--depth", "1"])
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + len(small_checks.PEAKS) + 1
    assert re.match(r"\| all \| 12 \| ", rows[-1])
