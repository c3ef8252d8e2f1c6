"""The bar counts frames of recordings and megapixels of everything else."""

from __future__ import annotations

import pytest

from napari_dcr.engine.progress_bar import ProgressBar
from napari_dcr.engine.result import Progress


@pytest.mark.parametrize(("frames", "shown"), [(40, ["10/40", "frames/s"]), (0, ["/8.0", "MP/s"])])
def test_the_unit_is_that_of_the_image(
    capsys: pytest.CaptureFixture[str], frames: int, shown: list[str]
) -> None:
    with ProgressBar("a") as bar:
        for done in (0, 1_000_000, 2_000_000):
            bar(Progress(done, 8_000_000, "", frames))
        bar._bar.refresh()
        text = capsys.readouterr().err
    assert all(each in text for each in shown), text
