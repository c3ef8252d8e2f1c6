"""The checks of sensors' defects: what they measure, and their tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from napari_dcr.training.evaluation import defect_checks


def test_ripple_measures_only_offsets_of_columns() -> None:
    rng = np.random.default_rng(1)
    columns, rows = rng.normal(0, 3, 200), rng.normal(0, 3, (300, 1))
    assert defect_checks.ripple(columns + np.zeros((300, 1))) > 2
    assert defect_checks.ripple(rows + np.zeros(200)) < 1e-9


def test_the_cost_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    defect_checks.score_cost(side=256, rounds=1)
    printed = capsys.readouterr().out
    for name in ("256 x 256 uint16", "30 x 128 x 128 uint16", "256 x 256 RGB"):
        assert f"| {name} |" in printed


def test_photographs_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    image = rng.integers(80, 120, (200, 300, 3), dtype=np.uint8)
    image[50, 60] = 255, 255, 0
    PILImage.fromarray(image).save(tmp_path / "one.png")
    PILImage.fromarray(rng.integers(80, 120, (90, 80, 3), dtype=np.uint8)).save(tmp_path / "b.png")
    defect_checks.main(["--only", "photographs", "--photographs", str(tmp_path)])
    row = capsys.readouterr().out.strip().splitlines()[-1].split("|")
    assert row[1].strip() == tmp_path.name
    assert row[2].strip() == "2"
    assert row[4].strip() == "0"


def test_steps_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    defect_checks.main(["--only", "steps", "--scenes", "1"])
    rows = [r for r in capsys.readouterr().out.splitlines() if r.startswith("| quadrants")]
    assert len(rows) == 1
    assert rows[0].count("of") == len(defect_checks.STRENGTHS)


def test_even_and_odd_columns_are_corrected_unless_they_are_a_grating(
    capsys: pytest.CaptureFixture[str],
) -> None:
    defect_checks.main(["--only", "alternation", "--scenes", "1"])
    *_, row = (line for line in capsys.readouterr().out.splitlines() if "left |" in line)
    left = [float(value) for value in row.split("|")[2:-1]]
    assert left[1] < 0.3
    assert left[2] < 0.3
    assert left[3] == pytest.approx(20, abs=0.5)
