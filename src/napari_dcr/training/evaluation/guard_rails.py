"""``python -m napari_dcr.training.evaluation.guard_rails``: check properties that weights must have.

Scores can be improved at the expense of the pictures: by blowing out lamps, flattening highlights, or
brightening bright pictures.  Each guard rail is a number with a bound, and the exit status is 1 if one
of them is not met.
"""

from __future__ import annotations

import argparse
import functools
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

import napari_dcr
from napari_dcr.image.tone import linear_to_srgb, srgb_to_linear
from napari_dcr.training.data import load_rgb
from napari_dcr.training.evaluation import metrics
from napari_dcr.training.evaluation.datasets import Case, find_cases
from napari_dcr.training.evaluation.evaluate import COLUMNS, markdown, write_csv
from napari_dcr.training.forward.synthetic import dim_rendition, dim_stack

Enhance = Callable[..., metrics.Picture]

EXPOSURES = (-2.0, -1.0, 0.0, 1.0, 2.0)
STOPS = (2.0, 4.0, 6.0)
FRAMES = 30
BLACK, WHITE = 3.0, 94.0
"""CIELAB lightness of a real black and of a real white."""

DEEPEST = 3
"""Largest depth of the measured weights."""

_COMPARISONS = {">=": operator.ge, "<": operator.lt, ">": operator.gt}


@dataclass(frozen=True)
class Rail:
    """Guard rail: a measure, its bound, and the measured value.

    Attributes
    ----------
    name : str
        Description of the measure, with its unit.
    sign : {">=", "<", ">"}
        Required relation of ``measured`` to ``bound``; NaN never meets it.
    bound, measured : float
    worst : str
        The pictures with the worst values.
    """

    name: str
    sign: str
    bound: float
    measured: float
    worst: str = ""

    @property
    def kept(self) -> bool:
        """Whether the bound is met."""
        return bool(_COMPARISONS[self.sign](self.measured, self.bound))


@dataclass(frozen=True)
class Finding:
    """Results of one check.

    Attributes
    ----------
    check : str
    values : mapping of str to mapping of str to float
        Value of each picture, by measure.
    rails : list of Rail
    table : str
        Further results as Markdown.
    """

    check: str
    values: Mapping[str, Mapping[str, float]]
    rails: list[Rail]
    table: str = field(default="")


def check_well_lit(enhance: Enhance, folder: Path) -> Finding:
    """Check that well-lit pictures hardly change: PSNR of the result against the input."""
    values = {}
    for case, picture in _pictures(folder):
        values[case.name] = metrics.psnr(enhance(picture), picture)
    name = f"{folder.name}: PSNR of well-lit pictures, result against input"
    return Finding(f"well-lit {folder.name}", {"psnr": values}, [
        Rail(f"{name}, mean, dB", ">=", 40, _mean(values)),
        Rail(f"{name}, least, dB", ">=", 26, min(values.values()), _worst(values, min)),
    ])  # fmt: skip


def check_highlights(enhance: Enhance, folder: Path) -> Finding:
    """Check that bright parts of dim pictures keep their detail and are not blown out."""
    growth, contrast = {}, {}
    for case, picture in _pictures(folder):
        result = enhance(picture)
        growth[case.name] = metrics.blown_share(result) - metrics.blown_share(picture)
        contrast[case.name] = metrics.highlight_contrast(result, picture)
    # An input without contrast has none to keep.
    had_any = {name: value for name, value in contrast.items() if not np.isnan(value)}
    blown = f"{folder.name}: growth of the share of pixels with a channel >= {metrics.BLOWN}"
    kept = f"{folder.name}: local contrast kept in the input's brightest tenth"
    return Finding(
        f"highlights {folder.name}",
        {"blown_growth": growth, "highlight_contrast": contrast},
        [
            Rail(f"{blown}, mean, points", "<", 1, _mean(growth)),
            Rail(f"{blown}, most, points", "<", 3, max(growth.values()), _worst(growth, max)),
            # Noise in a bright sky is contrast too, and removing it is correct, so single
            # pictures are named, not judged.
            Rail(f"{kept}, mean", ">=", 0.7, _mean(had_any), _worst(had_any, min)),
        ],
    )


def check_synthetic(enhance: Enhance, folder: Path) -> Finding:
    """Score dim versions of clean photographs, by stops; seeds are the numbers of the pictures.

    The reference is the natural print.  The dim pictures themselves are scored, too.
    """
    measures = {
        "psnr": metrics.psnr,
        "psnr_gt_mean": lambda a, b: metrics.psnr(metrics.match_mean(a, b), b),
        "ssim": metrics.ssim,
        "ciede2000_hue": metrics.ciede2000_hue,
        "texture_gain": metrics.texture_gain,
    }
    values: dict[str, dict[str, float]] = {}
    for seed, (case, photograph) in enumerate(_pictures(folder)):
        for stops in STOPS:
            clean = _to_unit(photograph)
            dim, truth = map(metrics.to_8_bits, dim_rendition(clean, stops, seed))
            for what, picture in (("input", dim), ("result", enhance(dim))):
                for key, measure in measures.items():
                    row = values.setdefault(f"{key} of {what} at -{stops:.0f} EV", {})
                    row[case.name] = measure(picture, truth)
    matched = values["psnr_gt_mean of result at -4 EV"]
    name = f"{folder.name} at -4 EV: GT-mean PSNR, mean, dB"
    rails = [Rail(name, ">=", 27, _mean(matched), _worst(matched, min))]
    texture = values["texture_gain of result at -2 EV"]
    name = f"{folder.name} at -2 EV: share of fine texture kept, mean"
    rails.append(Rail(name, ">=", 0.8, _mean(texture), _worst(texture, min)))
    rows = [
        [f"-{stops:.0f}", what,
         *(COLUMNS[k].text(_mean(values[f"{k} of {what} at -{stops:.0f} EV"])) for k in measures)]
        for stops in STOPS
        for what in ("input", "result")
    ]  # fmt: skip
    titles = [COLUMNS[key].title for key in measures]
    table = markdown(["EV", "", *titles], rows)
    text = f"Dim renditions of {folder.name}\n\n{table}"
    return Finding(f"synthetic {folder.name}", values, rails, text)


def check_colours(enhance: Enhance, folder: Path) -> Finding:
    """Check that results keep the colour of the picture, and have a real black and white."""
    colour, black, white = {}, {}, {}
    for case, picture in _pictures(folder):
        result = enhance(picture)
        was = metrics.chroma(picture)
        colour[case.name] = metrics.chroma(result) / was if was else 1.0
        levels = zip(
            metrics.lightness_levels(picture), metrics.lightness_levels(result), strict=True
        )
        (dark, darkest), (bright, brightest) = levels
        if dark < BLACK:
            black[case.name] = darkest
        if bright >= WHITE:
            white[case.name] = brightest
    values = {"chroma over the input's": colour, "black level": black, "white level": white}
    rails = [
        Rail(f"{folder.name}: mean chroma of the result over that of the picture, least", ">=",
             0.96, min(colour.values()), _worst(colour, min))
    ]  # fmt: skip
    if black:
        deep = float(np.mean([level < BLACK for level in black.values()]))
        name = f"{folder.name}: share of results with a black (1 % quantile of L* below {BLACK:g}), of pictures that have one"
        rails.append(Rail(name, ">=", 0.75, deep, _worst(black, max)))
    if white:
        name = f"{folder.name}: white level (99.5 % quantile of L*) where the picture has one ({WHITE:g}), least"
        rails.append(Rail(name, ">", 92, min(white.values()), _worst(white, min)))
    return Finding(f"colours {folder.name}", values, rails)


def check_drawings(enhance: Enhance, _: Path | None = None) -> Finding:
    """Check that white, black, pages and masks hardly change, at every depth."""
    page = np.full((240, 320, 3), 252, np.uint8)
    rng = np.random.default_rng(0)
    for y in range(16, 224, 14):
        for x in range(16, 300, 8):
            page[y : y + 8, x : x + int(rng.integers(1, 6))] = 20
    paper = page[..., 0] == 252
    inside = np.zeros((200, 260), bool)
    inside[60:140, 80:180] = True
    white, sheet, black, gap = {}, {}, {}, {}
    for depth in range(DEEPEST + 1):
        draw = functools.partial(enhance, depth=depth)
        for level in (246, 250, 255):
            flat = np.full((200, 260, 3), level, np.uint8)
            white[f"{level} at depth {depth}"] = float(draw(flat).min())
        sheet[f"depth {depth}"] = float(np.median(draw(page)[paper]))
        black[f"depth {depth}"] = float(draw(np.zeros((200, 260, 3), np.uint8)).max())
        for name, mask in (("0 and 1", inside.astype(np.uint8)), ("0 and 255", 255 * inside)):
            result = draw(np.repeat(mask[..., None], 3, -1).astype(np.uint8)).astype(float)
            low, high = np.quantile(result[~inside], 0.99), np.quantile(result[inside], 0.01)
            gap[f"{name} at depth {depth}"] = float(high - low)
    values = {"white": white, "paper": sheet, "black": black, "gap": gap}
    return Finding("drawings", values, [
        Rail("flat 246 to 255, least value", ">=", 238, min(white.values()), _worst(white, min)),
        Rail("paper of 252, median", ">=", 247, min(sheet.values()), _worst(sheet, min)),
        Rail("flat black, largest value", "<", 30, max(black.values()), _worst(black, max)),
        Rail("two levels, gap between them", ">=", 1, min(gap.values()), _worst(gap, min)),
    ])  # fmt: skip


def check_grain(enhance: Enhance, _: Path | None = None) -> Finding:
    """Check that flat patches become smooth: standard deviation of 255, averaged over channels."""
    rng = np.random.default_rng(0)
    grain = {}
    # Patches next to a bright area, as in pictures, with shot noise of 255 electrons at full scale.
    levels = np.full((256, 256, 3), 20.0)
    levels[:128], levels[:, 192:] = 8, 120
    photons = np.clip(rng.poisson(levels), 0, 255).astype(np.uint8)
    for name, picture in (("RGB", photons), ("grey", photons[..., 0])):
        result = np.atleast_3d(enhance(picture)).astype(float)
        for level, patch in ((20, result[144:240, 16:176]), (8, result[16:112, 16:176])):
            grain[f"{level} of 255 electrons, {name}"] = float(patch.std((0, 1)).mean())
    # A wall 24 times too dark.
    wall = srgb_to_linear(np.full((256, 256, 3), 0.5, np.float32)) / 24
    wall[:, 192:] *= 4
    noisy = wall + rng.standard_normal(wall.shape) * np.sqrt(4e-4 * wall + 2e-6)
    dim = metrics.to_8_bits(linear_to_srgb(np.clip(noisy, 0, 1)))
    wall_grain = float(enhance(dim)[16:240, 16:176].astype(float).std((0, 1)).mean())
    values = {"grain": {**grain, "wall": wall_grain}}
    return Finding("grain", values, [
        Rail("grain of flat patches in shot noise, most", "<", 4, max(grain.values()), _worst(grain, max)),
        Rail("grain of a flat wall 24 times too dark", "<", 2.5, wall_grain),
    ])  # fmt: skip


def check_slider(enhance: Enhance, folder: Path) -> Finding:
    """Check that each stop of the exposure slider brightens: mean of all values, 0 to 255."""
    values: dict[str, dict[str, float]] = {f"brightness at {ev:+.0f} EV": {} for ev in EXPOSURES}
    steps = {}
    for case, picture in _pictures(folder):
        means = [float(enhance(picture, exposure=ev).mean()) for ev in EXPOSURES]
        for brightness, mean in zip(values.values(), means, strict=True):
            brightness[case.name] = mean
        steps[case.name] = float(np.diff(means).min())
    name = f"{folder.name}: least step of mean brightness from -2 to +2 EV, of 255"
    rail = Rail(name, ">", 0, min(steps.values()), _worst(steps, min))
    return Finding(f"exposure {folder.name}", values, [rail])


def check_flicker(enhance: Enhance, folder: Path) -> Finding:
    """Check that a stack of one dim scene with independent noise keeps its brightness.

    The scene is the first photograph of the folder, 4 stops down.  The measure is the range of the
    frames' means divided by the mean of all frames.
    """
    case, photograph = next(_pictures(folder))
    stack = metrics.to_8_bits(dim_stack(_to_unit(photograph), 4.0, 0, FRAMES))
    means = enhance(stack).mean((1, 2, 3))
    spread = float(np.ptp(means) / means.mean() * 100)
    name = f"{folder.name}: brightness of {FRAMES} frames of {case.name}, (max - min) / mean, %"
    values = {f"frame {i}": float(mean) for i, mean in enumerate(means)}
    return Finding(f"flicker {folder.name}", {"brightness": values}, [Rail(name, "<", 0.5, spread)])


def _pictures(folder: Path) -> Iterator[tuple[Case, metrics.Picture]]:
    for case in tqdm(find_cases(folder), desc=folder.name, unit="picture", disable=None):
        yield case, load_rgb(case.low)


def _to_unit(picture: metrics.Picture) -> np.ndarray:
    return picture.astype(np.float32) / 255


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values())))


def _worst(values: Mapping[str, float], which: Callable[..., float], count: int = 3) -> str:
    """Names and values of the lowest (``min``) or highest (``max``) pictures."""
    ranked = sorted(values, key=values.__getitem__, reverse=which is max)
    return ", ".join(f"{name} {values[name]:.2f}" for name in ranked[:count])


def report(findings: Sequence[Finding]) -> str:
    """Format bounds and measured values as Markdown."""
    rows = [
        [rail.name, f"{rail.sign} {rail.bound:g}", f"{rail.measured:.2f}",
         "pass" if rail.kept else "FAIL", rail.worst]
        for finding in findings
        for rail in finding.rails
    ]  # fmt: skip
    tables = [markdown(["name", "bound", "measured", "", "worst"], rows)]
    return "\n\n".join(tables + [finding.table for finding in findings if finding.table])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    enhance = functools.partial(
        napari_dcr.enhance, model=options.model, device=options.device, precision="fp32"
    )
    wanted: list[tuple[Callable[..., Finding], Path | None]] = [
        *((check_well_lit, folder) for folder in options.wellit),
        *((check_highlights, folder) for folder in options.dim),
        *((check_colours, folder) for folder in options.colours),
        *((check_slider, folder) for folder in options.slider),
        *((check, None) for check in (check_drawings, check_grain) if options.drawn),
        *(
            (check, folder)
            for folder in options.clean
            for check in (check_synthetic, check_flicker)
        ),
    ]
    if not wanted:
        parser.error(
            "nothing to measure: pass --wellit, --dim, --colours, --clean, --slider or --drawn"
        )
    try:
        findings = [check(enhance, folder) for check, folder in wanted]
    except (ValueError, OSError) as error:
        parser.error(str(error))
    text = report(findings)
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")
    if options.csv:
        write_csv(options.csv, [
            {"check": finding.check, "measure": measure, "image": image, "value": value}
            for finding in findings
            for measure, images in finding.values.items()
            for image, value in images.items()
        ])  # fmt: skip
    return 0 if all(rail.kept for finding in findings for rail in finding.rails) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.guard_rails",
        description="Measure properties that weights must have; the exit status is 1 if a bound is not met.",
    )
    parser.add_argument("--model", default="photo")
    folders = {
        "--wellit": "well-lit pictures that must hardly change",
        "--dim": "dim pictures whose highlights must be kept",
        "--colours": "dim pictures whose colours must be kept",
        "--clean": "clean photographs, of which dim versions and a stack are simulated",
        "--slider": "pictures that each step of the exposure slider must brighten",
    }
    for name, text in folders.items():
        parser.add_argument(name, type=Path, nargs="+", default=[], metavar="FOLDER", help=text)
    parser.add_argument(
        "--drawn", action="store_true",
        help="white, black, pages, masks and flat patches of noise, which need no folder",
    )  # fmt: skip
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path, help="file for the values of every picture")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    return parser


if __name__ == "__main__":
    sys.exit(main())
