"""``python -m napari_dcr.training.evaluation.evaluate``: score weights and results of other methods.

The folder is a data set in one of the layouts of `napari_dcr.training.evaluation.datasets`,
with or without truths.  The table has a row for the input, for every model and setting, and for
every folder of another method's results. All of them are scored by the same functions.
"""

from __future__ import annotations

import argparse
import csv
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw
from tqdm import tqdm

import napari_dcr
from napari_dcr.network import weights
from napari_dcr.training.data import image_files, load_rgb
from napari_dcr.training.evaluation import metrics
from napari_dcr.training.evaluation.datasets import Case, find_cases, partners
from napari_dcr.training.evaluation.niqe import niqe

Method = Callable[[metrics.Picture, Case], metrics.Picture]
"""Function of a dim picture and its case that returns a result of the same shape."""


@dataclass(frozen=True)
class Column:
    """Format of a metric in tables: title, number of decimals, and whether to write a plus sign."""

    title: str
    decimals: int
    signed: bool = False

    def text(self, value: float) -> str:
        """Format a value; a dash if the metric is not defined for a picture."""
        return "-" if np.isnan(value) else f"{value:{'+' * self.signed}.{self.decimals}f}"


COLUMNS = {
    "psnr": Column("PSNR dB", 2),
    "psnr_gt_mean": Column("PSNR GT-mean dB", 2),
    "ssim": Column("SSIM", 3),
    "ssim_luma": Column("SSIM luma", 3),
    "ms_ssim": Column("MS-SSIM", 3),
    "ciede2000": Column("CIEDE2000", 2),
    "ciede2000_hue": Column("hue term of CIEDE2000", 2),
    "chroma_ratio": Column("ratio of chroma", 2),
    "texture_gain": Column("texture kept", 2),
    "niqe": Column("NIQE", 2),
    "loe": Column("LOE", 0),
    "blown_growth": Column("blown, points over input", 2, signed=True),
    "highlight_contrast": Column("highlight contrast kept", 2),
}


@dataclass(frozen=True)
class Score:
    """Scores of one method on one picture, by the keys of `COLUMNS`."""

    method: str
    image: str
    values: dict[str, float]


AGAINST_TRUTH: dict[str, Callable[[metrics.Picture, metrics.Picture], float]] = {
    "psnr": metrics.psnr,
    "psnr_gt_mean": lambda a, b: metrics.psnr(metrics.match_mean(a, b), b),
    "ssim": metrics.ssim,
    "ssim_luma": metrics.ssim_luma,
    "ms_ssim": metrics.ms_ssim,
    "ciede2000": metrics.ciede2000,
    "ciede2000_hue": metrics.ciede2000_hue,
    "chroma_ratio": metrics.chroma_ratio,
    "texture_gain": metrics.texture_gain,
}


def against_truth(result: metrics.Picture, truth: metrics.Picture) -> dict[str, float]:
    """Compute all metrics that need a truth; NaN if the picture is too small for a metric."""
    return {key: _defined(metric, result, truth) for key, metric in AGAINST_TRUTH.items()}


def score(
    result: metrics.Picture, low: metrics.Picture, truth: metrics.Picture | None
) -> dict[str, float]:
    """Compute all metrics of a picture; NaN if it is too small for a metric."""
    return {
        **({} if truth is None else against_truth(result, truth)),
        "niqe": _defined(niqe, result),
        "loe": metrics.lightness_order_error(result, low),
        "blown_growth": metrics.blown_share(result) - metrics.blown_share(low),
        "highlight_contrast": metrics.highlight_contrast(result, low),
    }


def _defined(metric: Callable[..., float], *pictures: metrics.Picture) -> float:
    try:
        return metric(*pictures)
    except ValueError:  # the picture is too small
        return float("nan")


def cascade(model: str | Path, depth: int, detail: bool, device: str = "auto") -> Method:
    """Method that enhances with a model in fp32."""
    enhance = functools.partial(
        napari_dcr.enhance, model=model, depth=depth, detail=detail, device=device, precision="fp32"
    )
    return lambda low, _: enhance(low)


def cascades(
    model: str | Path = "photo",
    depths: Sequence[int] | None = None,
    details: Sequence[bool] = (True,),
    device: str = "auto",
) -> dict[str, Method]:
    """Methods by name for depths (full depth if not given) and detail settings of a model."""
    stages = weights.load(model).network.stages
    depths = [stages] if depths is None else depths
    too_deep = [depth for depth in depths if not 0 <= depth <= stages]
    if too_deep:
        raise ValueError(f"depth: got {too_deep[0]}; the model {model} allows 0 to {stages}")
    stem = weights.find(model).stem
    methods = {}
    for depth in depths:
        # Depth 0 has no detail module.
        for detail in details if depth else details[:1]:
            methods[setting(stem, depth, detail)] = cascade(model, depth, detail, device)
    return methods


def setting(name: str, depth: int, detail: bool) -> str:
    """Name a network at a setting of its switches."""
    switch = f", detail {'on' if detail else 'off'}" if depth else ""
    return f"{name}, depth {depth}{switch}"


def ready_made(folder: Path, cases: Sequence[Case], shrink: int = 1) -> Method:
    """Method that returns results of another method, which are read from a folder.

    Raises
    ------
    ValueError
        If a picture is missing; when the method is called, if a picture does not have the shape
        of its input.
    """
    paths: dict[str, Path] = {}
    for parent in sorted({Path(case.name).parent for case in cases}):
        wanted = [Path(case.name) for case in cases if Path(case.name).parent == parent]
        files = image_files(folder / parent) if (folder / parent).is_dir() else []
        names = [str(name) for name in wanted]
        paths |= zip(names, partners(wanted, files, folder / parent), strict=True)

    def method(low: metrics.Picture, case: Case) -> metrics.Picture:
        result = load(paths[str(Path(case.name))], shrink)
        if result.shape != low.shape:
            raise ValueError(
                f"compare: {paths[str(Path(case.name))]} has shape {result.shape}; its input has {low.shape}"
            )
        return result

    return method


def load(path: Path, shrink: int = 1) -> metrics.Picture:
    """Read a picture, reduced by area to 1 / ``shrink`` of its sides."""
    if shrink < 1:
        raise ValueError(f"shrink: got {shrink}; allowed are integers from 1")
    return np.asarray(PILImage.fromarray(load_rgb(path)).reduce(shrink))


def evaluate(cases: Iterable[Case], methods: dict[str, Method], shrink: int = 1) -> Iterator[Score]:
    """Score the input and every method on every picture.

    Raises
    ------
    ValueError
        If a truth does not have the shape of its picture.
    """
    methods = {"input": lambda low, _: low, **methods}
    for case in cases:
        low = load(case.low, shrink)
        truth = load(case.truth, shrink) if case.truth else None
        if truth is not None and truth.shape != low.shape:
            raise ValueError(
                f"folder: {case.low} has shape {low.shape}; its truth {case.truth} has {truth.shape}"
            )
        for name, method in methods.items():
            yield Score(name, case.name, score(method(low, case), low, truth))


def contact_sheet(
    cases: Iterable[Case], methods: dict[str, Method], shrink: int = 1, height: int = 300
) -> PILImage.Image:
    """Make a sheet with one row for each picture and one titled column for each method.

    Parameters
    ----------
    cases : iterable of Case
    methods : dict of str to Method
        Methods in the order of their columns, between the input and the truth.
    shrink : int
        See `load`.
    height : int
        Height of a picture on the sheet, in pixels.
    """
    methods = {"input": lambda low, _: low, **methods}
    rows, titles = [], list(methods)
    for case in cases:
        low = load(case.low, shrink)
        pictures = [method(low, case) for method in methods.values()]
        if case.truth:
            pictures.append(load(case.truth, shrink))
            titles = [*methods, "truth"]
        width = round(low.shape[1] * height / low.shape[0])
        rows.append([PILImage.fromarray(p).resize((width, height)) for p in pictures])
    widest, title = max(row[0].width for row in rows), 20
    size = (widest + 4) * len(titles), title + (height + 4) * len(rows)
    sheet = PILImage.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, name in enumerate(titles):
        pen.text((column * (widest + 4) + 4, 4), name, fill="black")
        for number, row in enumerate(rows):
            if column < len(row):
                place = column * (widest + 4), title + number * (height + 4)
                sheet.paste(row[column], place)
    return sheet


def table(scores: Sequence[Score]) -> str:
    """Format the means over all images as a Markdown table with one row for each method.

    A metric that is not defined for every picture has no mean.
    """
    keys = [key for key in COLUMNS if key in scores[0].values]
    rows = []
    for method in dict.fromkeys(s.method for s in scores):
        values = [s.values for s in scores if s.method == method]
        means = [float(np.mean([v[key] for v in values])) for key in keys]
        rows.append([method, *(COLUMNS[k].text(m) for k, m in zip(keys, means, strict=True))])
    return markdown(["method", *(COLUMNS[key].title for key in keys)], rows)


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a Markdown table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_csv(path: Path, rows: Sequence[dict[str, str | float]]) -> None:
    """Write rows with the same keys to a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.sheet:
            contact_sheet(*_cases_and_methods(options), options.shrink).save(options.sheet)
            return
        scores, report = _run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(report)
    if options.markdown:
        options.markdown.write_text(report + "\n")
    if options.csv:
        write_csv(options.csv, [{"method": s.method, "image": s.image, **s.values} for s in scores])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluation.evaluate",
        description="Score weights and results of other methods on a low-light data set.",
    )
    parser.add_argument(
        "folder", type=Path, help="low and high, LOL-v1, LOL-v2, SICE, or single pictures"
    )
    parser.add_argument(
        "--model", action="append", metavar="MODEL",
        help="photo (default), microscopy or a .safetensors file; may be given several times",
    )  # fmt: skip
    parser.add_argument("--no-model", action="store_true", help="score --compare folders only")
    parser.add_argument(
        "--depth", type=int, nargs="+", help="number of sub-U-Nets to run (default: all)"
    )
    parser.add_argument("--detail", choices=("on", "off", "both"), default="on")
    parser.add_argument(
        "--all-depths", action="store_true", help="every depth, with the detail module on and off"
    )
    parser.add_argument(
        "--compare", type=Path, nargs="+", default=[], metavar="FOLDER",
        help="folders with results of other methods for the same files",
    )  # fmt: skip
    parser.add_argument(
        "--exposures",
        type=int,
        default=1,
        help="SICE: number of exposures per scene, darkest first",
    )
    parser.add_argument(
        "--shrink",
        type=int,
        default=1,
        metavar="N",
        help="reduce all pictures to 1/N of their sides first",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--sheet", type=Path, metavar="FILE",
        help="picture with the input, all results and the truth side by side, instead of scores",
    )  # fmt: skip
    parser.add_argument("--csv", type=Path, help="file for the per-image scores")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    return parser


def _cases_and_methods(options: argparse.Namespace) -> tuple[list[Case], dict[str, Method]]:
    cases = find_cases(options.folder, options.exposures)
    methods: dict[str, Method] = {}
    for folder in options.compare:
        methods[folder.name] = ready_made(folder, cases, options.shrink)
    details = {"on": (True,), "off": (False,), "both": (True, False)}[options.detail]
    for model in [] if options.no_model else options.model or ["photo"]:
        depths = options.depth
        if options.all_depths:
            depths, details = range(weights.load(model).network.stages + 1), (True, False)
        methods |= cascades(model, depths, details, options.device)
    return cases, methods


def _run(options: argparse.Namespace) -> tuple[list[Score], str]:
    cases, methods = _cases_and_methods(options)
    progress = tqdm(cases, unit="picture", disable=None)
    scores = list(evaluate(progress, methods, options.shrink))
    kind = "pairs" if cases[0].truth else "pictures"
    return scores, f"{len(cases)} {kind} of {options.folder.name}\n\n{table(scores)}"


if __name__ == "__main__":
    main()
