"""The checks of microscopy weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from napari_dcr.training.evaluation import microscopy_checks


def test_the_checks_print_their_tables(
    tmp_path: Path, lively_counts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = next(microscopy_checks.cases(1, size=128))
    for folder, values in (("noisy", case.values), ("clean", case.expected)):
        (tmp_path / folder).mkdir()
        shown = np.clip(values / values.max() * 255, 0, 255).astype(np.uint8)
        PILImage.fromarray(shown).save(tmp_path / folder / "1.png")
    microscopy_checks.score_pairs(str(lively_counts), tmp_path, slow=False)
    printed = capsys.readouterr().out
    assert "| all (1) | depth 3 |" in printed
    assert "| all (1) | input |" in printed
    microscopy_checks.score_pairs(str(lively_counts), tmp_path, slow=False, fitted=False)
    assert "without any fit" in capsys.readouterr().out
