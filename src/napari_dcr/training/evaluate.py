"""``python -m napari_dcr.training.evaluate``: score weights on pairs of pictures.

The folder holds ``low`` and ``high`` with the same file names.  A row for every
depth, with the detail module on and off; per-image scores go into a CSV file.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import napari_dcr
from napari_dcr.network import weights
from napari_dcr.training import metrics
from napari_dcr.training.data import image_files, load_rgb


@dataclass(frozen=True)
class Score:
    """Scores of one image under one setting; dB, dB, 1, percentage points."""

    image: str
    depth: int
    detail: bool
    psnr: float
    psnr_gt_mean: float
    ssim: float
    blown_growth: float


def score(
    result: metrics.Picture, low: metrics.Picture, truth: metrics.Picture
) -> tuple[float, float, float, float]:
    """PSNR, GT-mean PSNR, SSIM, and growth of the blown share over the input."""
    return (
        metrics.psnr(result, truth),
        metrics.psnr(metrics.match_mean(result, truth), truth),
        metrics.ssim(result, truth),
        metrics.blown_share(result) - metrics.blown_share(low),
    )


def evaluate(folder: Path, model: str | Path = "auto", device: str = "auto") -> Iterator[Score]:
    """Score every pair of ``folder`` at every depth, detail on and off.

    Raises
    ------
    ValueError
        If the folder has no pairs, or a picture without its partner.
    """
    pairs = [(low, folder / "high" / low.name) for low in image_files(folder / "low")]
    missing = [high for _, high in pairs if not high.exists()]
    if not pairs or missing:
        raise ValueError(f"folder: {folder} has {len(pairs)} low pictures; missing are {missing}")
    stages = weights.load(model).network.stages
    settings = [(0, True), *((d, on) for d in range(1, stages + 1) for on in (True, False))]
    for low_path, high_path in pairs:
        low, truth = load_rgb(low_path), load_rgb(high_path)
        for depth, detail in settings:
            result = napari_dcr.enhance(
                low, model=model, depth=depth, detail=detail, device=device, precision="fp32"
            )
            yield Score(low_path.name, depth, detail, *score(result, low, truth))


def table(scores: list[Score]) -> str:
    """Means over the images as a Markdown table."""
    lines = [
        "| depth | detail | PSNR dB | PSNR GT-mean dB | SSIM | blown, points over input |",
        "|---|---|---|---|---|---|",
    ]
    for depth, detail in sorted({(s.depth, s.detail) for s in scores}, key=lambda k: (k[0], -k[1])):
        rows = [s for s in scores if (s.depth, s.detail) == (depth, detail)]
        mean = {
            key: sum(getattr(s, key) for s in rows) / len(rows)
            for key in ("psnr", "psnr_gt_mean", "ssim", "blown_growth")
        }
        switch = "-" if depth == 0 else "on" if detail else "off"
        lines.append(
            f"| {depth} | {switch} | {mean['psnr']:.2f} | {mean['psnr_gt_mean']:.2f} |"
            f" {mean['ssim']:.3f} | {mean['blown_growth']:+.2f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.evaluate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="with the folders low and high")
    parser.add_argument("--model", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--csv", type=Path, help="file for the per-image scores")
    options = parser.parse_args(arguments)
    scores = list(evaluate(options.folder, options.model, options.device))
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(asdict(scores[0])))
            writer.writeheader()
            writer.writerows(asdict(s) for s in scores)
    print(f"{len({s.image for s in scores})} pairs of {options.folder.name}\n\n{table(scores)}")


if __name__ == "__main__":
    main()
