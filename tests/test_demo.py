"""The demo that README's first command runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_dcr.io import opening

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_demo_writes_bright_pictures_and_says_where(tmp_path: Path) -> None:
    command = [sys.executable, ROOT / "scripts" / "demo.py", tmp_path]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    printed = [Path(line) for line in done.stdout.splitlines() if line.endswith(".png")]
    assert {path.parent for path in printed} == {tmp_path}
    assert len(printed) == 6
    for name in ("earth-at-night", "kodak-23-minus-5-ev"):
        before, after, sheet = (
            opening.read(tmp_path / f"{name}-{part}.png").pixels
            for part in ("before", "after", "sheet")
        )
        assert after.mean() > 2 * before.mean()
        assert (sheet == np.concatenate([before, after], 1)).all()
