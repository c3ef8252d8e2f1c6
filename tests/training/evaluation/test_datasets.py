"""Data sets: every layout is found, and missing files are named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

from napari_dcr.training.evaluation.datasets import find_cases, partners


def plant(root: Path, names: Iterable[str], level: int = 40) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        PILImage.fromarray(np.full((4, 6, 3), level, np.uint8)).save(path)


def found(folder: Path, exposures: int = 1) -> list[tuple[str, str | None]]:
    """Name and truth below the folder, of each case."""
    return [
        (case.name, case.truth.relative_to(folder).as_posix() if case.truth else None)
        for case in find_cases(folder, exposures)
    ]


def test_pairs(tmp_path: Path) -> None:
    plant(tmp_path, ["low/1.png", "low/2.png", "high/1.png", "high/2.png"])
    assert found(tmp_path) == [("1.png", "high/1.png"), ("2.png", "high/2.png")]


def test_lol_v1_is_scored_on_its_test_part(tmp_path: Path) -> None:
    plant(
        tmp_path,
        [
            f"{part}/{side}/{n}.png"
            for part, n in (("our485", 2), ("eval15", 1))
            for side in ("low", "high")
        ],
    )
    assert found(tmp_path) == [("1.png", "eval15/high/1.png")]


def test_lol_v2(tmp_path: Path) -> None:
    plant(
        tmp_path,
        [
            f"Real_captured/{part}/{folder}/{stem}00{n}.png"
            for part, n in (("Train", 1), ("Test", 690))
            for folder, stem in (("Low", "low"), ("Normal", "normal"))
        ],
    )
    plant(tmp_path, ["Synthetic/Test/Low/r0.png", "Synthetic/Test/Normal/r0.png"])
    real = [("low00690.png", "Test/Normal/normal00690.png")]
    assert found(tmp_path / "Real_captured") == real
    assert found(tmp_path / "Real_captured" / "Test") == [
        ("low00690.png", "Normal/normal00690.png")
    ]
    assert found(tmp_path / "Synthetic") == [("r0.png", "Test/Normal/r0.png")]
    with pytest.raises(ValueError, match="two test sets"):
        find_cases(tmp_path)


def test_sice_takes_the_darkest_exposures_by_their_pixels(tmp_path: Path) -> None:
    plant(tmp_path, ["Label/1.JPG", "Label/12.PNG"], 120)
    for scene, levels in (("1", (90, 10, 30)), ("12", (5, 60, 200))):
        for number, level in enumerate(levels, 1):
            plant(tmp_path, [f"{scene}/{number}.JPG"], level)
    assert found(tmp_path) == [("1/2.JPG", "Label/1.JPG"), ("12/1.JPG", "Label/12.PNG")]
    assert [name for name, _ in found(tmp_path, 2)] == [
        "1/2.JPG",
        "1/3.JPG",
        "12/1.JPG",
        "12/2.JPG",
    ]


def test_single_pictures_of_any_kind(tmp_path: Path) -> None:
    plant(tmp_path, ["1.bmp", "2.JPG", "3.png", "4.tif"])
    (tmp_path / "Thumbs.db").write_bytes(b"")
    assert found(tmp_path) == [(name, None) for name in ("1.bmp", "2.JPG", "3.png", "4.tif")]


@pytest.mark.parametrize(
    "names", [[], ["low/1.png", "high/"], ["Label/1.jpg"], ["Label/", "1/1.jpg"]]
)
def test_empty_folders_are_refused(names: list[str], tmp_path: Path) -> None:
    plant(tmp_path, [name for name in names if not name.endswith("/")])
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.endswith("/"):
            (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"^folder: .* has no "):
        find_cases(tmp_path)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^folder: .*nowhere is not a folder"):
        find_cases(tmp_path / "nowhere")


@pytest.mark.parametrize("lost", ["low/b.png", "high/b.png"])
def test_missing_partners_are_named(lost: str, tmp_path: Path) -> None:
    plant(tmp_path, ["low/a.png", "low/b.png", "high/a.png", "high/b.png"])
    (tmp_path / lost).unlink()
    with pytest.raises(ValueError, match=r"^folder: .* no partner for 1 of 2 pictures: b\.png"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "candidates"),
    [
        (["1.png", "2.png"], ["1.png", "2.png"]),
        (["1.bmp", "10.bmp"], ["1.png", "10.png"]),
        (["1.bmp", "10.bmp"], ["LIME01_Ours.png", "LIME10_Ours.png"]),
        (["low0007.png"], ["normal0007.png"]),
    ],
)
def test_partners_by_name_by_stem_by_number(wanted: list[str], candidates: list[str]) -> None:
    pool = [Path(name) for name in reversed(candidates)] + [Path("other")]
    assert [p.name for p in partners([Path(w) for w in wanted], pool, Path())] == candidates


@pytest.mark.parametrize(
    "candidates", [["a1.png", "b1.png"], ["x.png"], []], ids=["ambiguous", "nothing alike", "none"]
)
def test_partners_are_never_guessed(candidates: list[str]) -> None:
    with pytest.raises(ValueError, match="no partner for 1 of 1 pictures: 1.bmp"):
        partners([Path("1.bmp")], [Path(name) for name in candidates], Path())
