"""The evaluation: rows, files, and results of other methods."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from skimage import data

from napari_dcr.training.evaluation import evaluate as module
from napari_dcr.training.evaluation import metrics
from napari_dcr.training.evaluation.datasets import find_cases
from napari_dcr.training.evaluation.evaluate import COLUMNS, evaluate, main, score, table
from napari_dcr.training.forward.synthetic import dim_rendition


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PILImage.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    clean = np.float32(data.astronaut()[:192, 100:292] / 255)
    for number, ev in enumerate((3.0, 5.0)):
        for side, pixels in zip(("low", "high"), dim_rendition(clean, ev, number), strict=True):
            save(folder / side / f"{number}.png", np.rint(pixels * 255).astype(np.uint8))
    return folder


def rows(report: str) -> dict[str, dict[str, str]]:
    """The cells of a Markdown table by the first column."""
    lines = [line.strip("| ").split(" | ") for line in report.splitlines() if line.startswith("|")]
    return {cells[0]: dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]}


def test_pairs_have_all_metrics_and_weights_beat_the_input(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = tmp_path / "scores.csv", tmp_path / "table.md"
    main([str(pairs), "--csv", str(files[0]), "--markdown", str(files[1]), "--device", "cpu"])
    printed = capsys.readouterr().out
    assert files[1].read_text() == printed
    found = rows(printed)
    assert list(found) == ["input", "photo, depth 3, detail on"]
    before, after = (
        {k: float(v) for k, v in found[name].items() if k != "method"} for name in found
    )
    assert list(before) == [column.title for column in COLUMNS.values()]
    for title in ("PSNR dB", "SSIM", "SSIM luma", "MS-SSIM"):
        assert after[title] > before[title]
    assert after["CIEDE2000"] < before["CIEDE2000"]
    with files[0].open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["method"], line["image"]) for line in lines[:2]] == [(m, "0.png") for m in found]
    mean = np.mean([float(line["psnr"]) for line in lines if line["method"] == "input"])
    assert f"{mean:.2f}" == found["input"]["PSNR dB"]


def test_all_depths_are_the_ablation(
    pairs: Path, lively_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(pairs), "--all-depths", "--model", str(lively_model), "--device", "cpu"])
    names = ["depth 0"] + [f"depth {d}, detail {s}" for d in (1, 2, 3) for s in ("on", "off")]
    found = rows(capsys.readouterr().out)
    assert list(found) == ["input", *(f"lively, {name}" for name in names)]
    assert len({tuple(list(cells.values())[1:]) for cells in found.values()}) == len(found)


def test_another_methods_pictures_are_scored_too(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        truth = np.asarray(PILImage.open(pairs / "high" / f"{number}.png"))
        save(tmp_path / "perfect" / f"result_{number}.bmp", truth)
    main([str(pairs), "--no-model", "--compare", str(tmp_path / "perfect")])
    found = rows(capsys.readouterr().out)
    assert list(found) == ["input", "perfect"]
    assert found["perfect"]["PSNR dB"] == "inf"
    assert found["perfect"]["SSIM"] == "1.000"


def test_a_sheet_shows_all_side_by_side(pairs: Path, tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / "red" / f"{number}.png", np.full((192, 192, 3), (255, 0, 0), np.uint8))
    sheet = tmp_path / "sheet.png"
    main([
        str(pairs), "--no-model", "--compare", str(tmp_path / "red"), "--sheet", str(sheet),
    ])  # fmt: skip
    pixels = np.asarray(PILImage.open(sheet))
    rows_, columns = 20 + 2 * 304, 3 * 304  # input, red, truth
    assert pixels.shape == (rows_, columns, 3)
    assert (pixels[170, 304 + 150] == (255, 0, 0)).all()
    assert pixels[170, 150].max() < pixels[170, 2 * 304 + 150].max()


def test_a_missing_or_misshapen_picture_of_another_method_is_named(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "0.png", np.zeros((5, 5, 3), np.uint8))
    arguments = [str(pairs), "--no-model", "--compare", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "no partner for 1 of 2 pictures: 1.png" in capsys.readouterr().err
    save(tmp_path / "1.png", np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(SystemExit):
        main(arguments)
    assert "has shape (5, 5, 3); its input has (192, 192, 3)" in capsys.readouterr().err


def test_pictures_of_exposures_are_compared_folder_by_folder(tmp_path: Path) -> None:
    for scene in "12":
        level = 10 * int(scene)
        save(tmp_path / "set" / scene / "1.png", np.full((60, 60, 3), level, np.uint8))
        save(tmp_path / "set" / "Label" / f"{scene}.png", np.full((60, 60, 3), level, np.uint8))
        save(tmp_path / "made" / scene / "1.png", np.full((60, 60, 3), level + 1, np.uint8))
    cases = find_cases(tmp_path / "set")
    method = module.ready_made(tmp_path / "made", cases)
    assert [method(np.zeros((60, 60, 3), np.uint8), c).max() for c in cases] == [11, 21]


def test_without_truth_and_too_small_for_a_metric(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, side in enumerate((60, 200)):
        save(tmp_path / f"{number}.bmp", rng.integers(0, 80, (side, side, 3), np.uint8))
    scores = list(evaluate(find_cases(tmp_path), {}))
    assert list(scores[0].values) == ["niqe", "loe", "blown_growth", "highlight_contrast"]
    assert np.isnan(scores[0].values["niqe"])
    assert np.isfinite(scores[1].values["niqe"])
    assert rows(table(scores))["input"]["NIQE"] == "-"


def test_scores_are_the_metrics(pairs: Path) -> None:
    low, truth = (np.asarray(PILImage.open(pairs / side / "0.png")) for side in ("low", "high"))
    values = score(low, low, truth)
    assert values["psnr"] == metrics.psnr(low, truth)
    assert values["psnr_gt_mean"] == metrics.psnr(metrics.match_mean(low, truth), truth)
    assert (values["loe"], values["blown_growth"], values["highlight_contrast"]) == (0, 0, 1)


def test_pictures_can_be_reduced_first(pairs: Path) -> None:
    low = module.load(pairs / "low" / "0.png", 3)
    whole = np.asarray(PILImage.open(pairs / "low" / "0.png"))
    assert low.shape == (64, 64, 3)
    assert np.abs(low - whole.reshape(64, 3, 64, 3, 3).mean((1, 3))).max() < 0.6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--depth", "4"], "depth: got 4"),
        (["--model", "unknown"], "model: got 'unknown'"),
        (["--shrink", "0"], "shrink: got 0"),
        (["--exposures", "0"], "exposures: got 0"),
    ],
)
def test_arguments_that_contradict_each_other_raise_an_error(
    arguments: list[str], message: str, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(pairs), *arguments])
    assert message in capsys.readouterr().err


def test_a_truth_of_another_shape_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "low" / "1.png", np.zeros((60, 60, 3), np.uint8))
    save(tmp_path / "high" / "1.png", np.zeros((60, 61, 3), np.uint8))
    with pytest.raises(ValueError, match="its truth .* has"):
        list(evaluate(find_cases(tmp_path), {}))
