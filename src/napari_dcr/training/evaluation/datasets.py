"""Find the pictures and truths of low-light data sets in their folders.

| layout | folder | pictures | truth |
|---|---|---|---|
| pairs | ``low``, ``high`` | all | the same name |
| LOL-v1 | ``our485``, ``eval15`` | ``eval15/low`` | ``eval15/high`` |
| LOL-v2 | ``Real_captured`` or ``Synthetic``, or its ``Test`` | ``Test/Low`` | ``Test/Normal`` |
| SICE | numbered folders of exposures and ``Label`` | the darkest of each | ``Label`` |
| single pictures (LIME, DICM, MEF, NPE, VV) | images | all | none |

The names of folders may be in upper or lower case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_dcr.network.global_net import LUMA
from napari_dcr.training.data import SUFFIXES, image_files, load_rgb


@dataclass(frozen=True)
class Case:
    """A picture to enhance.

    Attributes
    ----------
    name : str
        Path of the picture relative to its data set, such as ``"22.png"`` or ``"12/1.JPG"``.
    low : Path
        Path of the dim picture.
    truth : Path or None
        Path of the reference picture.
    """

    name: str
    low: Path
    truth: Path | None


def find_cases(folder: str | Path, exposures: int = 1) -> list[Case]:
    """Find the pictures of a data set, and their truths if it has any.

    Parameters
    ----------
    folder : str or Path
        Data set in one of the layouts that this module lists.
    exposures : int
        Number of exposures to use from each SICE scene, those with the lowest mean luma first.
        We assume that 1 and 2 are the "Cai-1E" and "Cai-2E" of Lu & Zhang 2020, who do not
        state which exposures these are.

    Raises
    ------
    ValueError
        If the layout is unknown, a folder is empty, or a picture has no partner.
    """
    if exposures < 1:
        raise ValueError(f"exposures: got {exposures}; allowed are integers from 1")
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"folder: {folder} is not a folder")
    below = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    if {"low", "high"} <= below.keys():
        return _pairs(below["low"], below["high"])
    if {"low", "normal"} <= below.keys():
        return _pairs(below["low"], below["normal"])
    if "eval15" in below:
        return find_cases(below["eval15"])
    if {"real_captured", "synthetic"} & below.keys():
        raise ValueError(
            f"folder: {folder} holds two test sets; score {folder}/Real_captured and"
            f" {folder}/Synthetic one by one"
        )
    if "test" in below:
        return find_cases(below["test"])
    if "label" in below:
        return _exposures(folder, below["label"], exposures)
    return [Case(path.name, path, None) for path in _filled(folder)]


def _filled(folder: Path) -> list[Path]:
    files = image_files(folder)
    if not files:
        raise ValueError(
            f"folder: {folder} has no {', '.join(sorted(SUFFIXES))} files, and no folders that"
            " are known (low and high, eval15, Test, Label)"
        )
    return files


def _pairs(low: Path, high: Path) -> list[Case]:
    lows, truths = _filled(low), _filled(high)
    found = partners(lows, truths, high)
    partners(truths, lows, low)  # a truth without a picture means that files are missing
    return [Case(a.name, a, b) for a, b in zip(lows, found, strict=True)]


def _exposures(folder: Path, label: Path, count: int) -> list[Case]:
    """Find the cases of SICE: ``12/`` holds the exposures of the scene with truth ``Label/12.*``."""
    scenes = [path for path in sorted(folder.iterdir()) if path.is_dir() and path != label]
    if not scenes:
        raise ValueError(f"folder: {folder} has no folders of exposures beside {label.name}")
    truths = _filled(label)
    found = partners(scenes, truths, label)
    partners(truths, scenes, folder)
    return [
        Case(f"{scene.name}/{low.name}", low, truth)
        for scene, truth in zip(scenes, found, strict=True)
        for low in sorted(_filled(scene), key=_mean_luma)[:count]
    ]


def _mean_luma(path: Path) -> float:
    # An eighth of SICE's 6000 pixels is enough to rank exposures.
    return float((load_rgb(path, 640) @ LUMA).mean())


def partners(wanted: Sequence[Path], candidates: Sequence[Path], folder: Path) -> list[Path]:
    """Find the partner of each of ``wanted`` among the files of another folder.

    Files are matched by equal names, otherwise by names without suffix, otherwise by the last
    number in the name (``low00690.png`` and ``normal00690.png``, ``1.bmp`` and
    ``LIME01_Ours.png``).  The same rule must apply to the whole folder, with exactly one partner
    for each name.

    Raises
    ------
    ValueError
        If a partner is missing; the message names the first ones.
    """
    fewest = None
    for key in (_name, _stem, _number):
        index: dict[str, list[Path]] = {}
        for path in candidates:
            index.setdefault(key(path), []).append(path)
        keys = [key(path) for path in wanted]
        lost = [
            path.name
            for path, k in zip(wanted, keys, strict=True)
            if not k or len(index.get(k, ())) != 1 or keys.count(k) > 1
        ]
        if not lost:
            return [index[k][0] for k in keys]
        if fewest is None or len(lost) < len(fewest):
            fewest = lost
    assert fewest is not None
    raise ValueError(
        f"folder: {folder} has no partner for {len(fewest)} of {len(wanted)} pictures:"
        f" {', '.join(fewest[:5])}{', ...' if len(fewest) > 5 else ''}"
    )


def _name(path: Path) -> str:
    return path.name


def _stem(path: Path) -> str:
    return path.name if path.is_dir() else path.stem


def _number(path: Path) -> str:
    numbers = re.findall(r"\d+", _stem(path))
    return str(int(numbers[-1])) if numbers else ""
