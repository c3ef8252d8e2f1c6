"""Each guard rail fails for the fault that it is meant to detect."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from skimage import data

from napari_dcr.training.evaluation import guard_rails
from napari_dcr.training.evaluation.guard_rails import (
    Rail,
    check_colours,
    check_drawings,
    check_flicker,
    check_grain,
    check_highlights,
    check_slider,
    check_synthetic,
    check_well_lit,
    main,
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("astronaut", "coffee"):
        PILImage.fromarray(getattr(data, name)()[40:168, 120:312]).save(folder / f"{name}.png")
    return folder


def brighten(picture: np.ndarray, exposure: float = 0.0) -> np.ndarray:
    return np.clip(picture * 2.0 ** (1 + exposure), 0, 255).astype(np.uint8)


def untouched(picture: np.ndarray, exposure: float = 0.0) -> np.ndarray:
    return picture


def kept(finding: guard_rails.Finding) -> list[bool]:
    return [rail.kept for rail in finding.rails]


def test_changing_well_lit_pictures_fails(pictures: Path) -> None:
    assert kept(check_well_lit(untouched, pictures)) == [True, True]
    finding = check_well_lit(brighten, pictures)
    assert kept(finding) == [False, False]
    assert "astronaut.png" in finding.rails[1].worst


def test_blowing_out_and_flattening_highlights_fails(pictures: Path) -> None:
    assert kept(check_highlights(untouched, pictures)) == [True] * 3
    assert not any(kept(check_highlights(brighten, pictures)))

    def flatten(picture: np.ndarray) -> np.ndarray:
        return (100 + picture // 4).astype(np.uint8)

    assert kept(check_highlights(flatten, pictures)) == [True, True, False]


def test_a_flat_picture_has_no_contrast_to_keep(pictures: Path, tmp_path: Path) -> None:
    PILImage.fromarray(np.full((40, 40, 3), 9, np.uint8)).save(tmp_path / "flat.png")
    (tmp_path / "coffee.png").write_bytes((pictures / "coffee.png").read_bytes())
    assert kept(check_highlights(untouched, tmp_path)) == [True] * 3


def test_dull_colours_and_grey_blacks_fail(pictures: Path, tmp_path: Path) -> None:
    with PILImage.open(pictures / "coffee.png") as file:
        full = np.array(file)
    full[:10], full[-10:] = 0, 255
    PILImage.fromarray(full).save(tmp_path / "full.png")

    def dull(picture: np.ndarray) -> np.ndarray:
        grey = picture.mean(-1, keepdims=True)
        return (20 + 0.8 * (grey + 0.8 * (picture - grey))).astype(np.uint8)

    assert kept(check_colours(untouched, tmp_path)) == [True, True, True]
    finding = check_colours(dull, tmp_path)
    assert kept(finding) == [False, False, False]
    assert finding.rails[0].measured == pytest.approx(0.64, abs=0.06)


def test_grey_whites_lifted_blacks_and_lost_levels_fail() -> None:
    def as_it_is(picture: np.ndarray, depth: int) -> np.ndarray:
        return np.where(picture == 1, 40, picture)

    def towards_grey(picture: np.ndarray, depth: int) -> np.ndarray:
        return (0.02 * picture + 120).astype(np.uint8)

    assert kept(check_drawings(as_it_is)) == [True] * 4
    assert kept(check_drawings(towards_grey)) == [False] * 4


def test_grain_fails_the_guard_rail() -> None:
    def smooth(picture: np.ndarray) -> np.ndarray:
        return np.full_like(picture, 80)

    def noisy(picture: np.ndarray) -> np.ndarray:
        return np.clip(picture.astype(int) * 4, 0, 255)

    assert kept(check_grain(smooth)) == [True, True]
    finding = check_grain(noisy)
    assert kept(finding) == [False, False]
    assert finding.values["grain"]["20 of 255 electrons, RGB"] == pytest.approx(
        4 * 20**0.5, rel=0.1
    )


def test_a_slider_without_effect_fails(pictures: Path) -> None:
    assert kept(check_slider(brighten, pictures)) == [True]
    assert kept(check_slider(untouched, pictures)) == [False]


def test_flicker_fails_the_guard_rail(pictures: Path) -> None:
    def by_frame(stack: np.ndarray) -> np.ndarray:
        gains = np.linspace(1, 1.02, len(stack))[:, None, None, None]
        return stack * 4.0 * gains

    assert kept(check_flicker(untouched, pictures)) == [True]
    finding = check_flicker(by_frame, pictures)
    assert kept(finding) == [False]
    assert finding.rails[0].measured == pytest.approx(2, abs=0.3)


def test_losing_the_picture_fails(pictures: Path) -> None:
    def lose(picture: np.ndarray) -> np.ndarray:
        return np.full_like(picture, 128)

    finding = check_synthetic(lose, pictures)
    assert kept(finding) == [False, False]
    dim = [np.mean(list(finding.values[f"psnr of input at -{ev} EV"].values())) for ev in (2, 4, 6)]
    assert dim[0] > dim[1] > dim[2]
    assert finding.table.count("\n| -") == 3 * 2 + 1


@pytest.mark.parametrize("sign", [">=", "<", ">"])
def test_not_a_number_meets_no_bound(sign: str) -> None:
    assert not Rail("", sign, 1.0, float("nan")).kept


def test_the_shipped_weights_are_measured_from_the_shell(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, text = tmp_path / "values.csv", tmp_path / "rails.md"
    status = main(
        [
            "--slider",
            str(pictures),
            "--device",
            "cpu",
            "--csv",
            str(values),
            "--markdown",
            str(text),
        ]
    )
    assert status == 0
    assert text.read_text() == capsys.readouterr().out
    assert "| pass |" in text.read_text()
    with values.open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * len(guard_rails.EXPOSURES)
    by_exposure = [float(line["value"]) for line in lines if line["image"] == "coffee.png"]
    assert (np.diff(by_exposure) > 0).all()


def test_a_bound_that_is_not_met_sets_the_exit_status(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        guard_rails.napari_dcr, "enhance", lambda picture, **_: brighten(picture), raising=False
    )
    assert main(["--wellit", str(pictures)]) == 1
    assert "| FAIL |" in capsys.readouterr().out


def test_nothing_to_measure_and_no_folder_are_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (([], "nothing to measure"), (["--dim", str(tmp_path)], "has no")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
