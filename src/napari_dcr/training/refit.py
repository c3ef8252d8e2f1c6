"""``python -m napari_dcr.training.refit WEIGHTS``: fit two layers of trained `photo` weights.

Training minimises many losses at once.  Two small errors of well-exposed pictures remain, and each
depends on a single layer: the cascade changes their brightness slowly across the picture, and their
tone curve is not quite the identity.  Both layers are fitted on training pairs, while all other
weights stay as they are.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from napari_dcr.network import weights
from napari_dcr.network.cascade import Cascade
from napari_dcr.training.data import PhotoPairs
from napari_dcr.training.head_fit import fit_head, head_equations
from napari_dcr.training.loop import TrainingConfig, commit
from napari_dcr.training.mixing import mixed
from napari_dcr.training.tone_fit import distil_tone_head, tone_thumbnails

PAIRS, PAIR_SEED, PAIR_CROP, PAIR_LONGEST = 330, 9901, 256, 1600
"""Number of pairs for the head, their seed, and the sizes of crops and pictures in pixels.

Crops are larger than in training, because the error changes over tens of pixels."""

THUMBNAILS, THUMBNAIL_SEED, THUMBNAIL_CROP, THUMBNAIL_LONGEST = 2800, 9902, 128, 900
"""The same for the tone curve, which sees whole pictures at 64 x 64 pixels only."""


def refit(
    network: Cascade,
    config: TrainingConfig,
    data: Path,
    pairs: int = PAIRS,
    thumbnails: int = THUMBNAILS,
) -> Cascade:
    """Fit both layers on training pairs, in a copy of the network.

    Parameters
    ----------
    network : Cascade
        Trained network of `photo`; it is not changed.
    config : TrainingConfig
        Folders with photographs, and conditions from which pairs are drawn.
    data : Path
        Root of the data folder.
    pairs, thumbnails : int
        Numbers of pairs for the head, and for the tone curve; with 0 that layer stays as it is.
    """
    if network.config.base != "curve":
        raise ValueError(
            f"network: got one with the base {network.config.base!r}; allowed is 'curve', as in photo"
        )

    for argument, count in (("pairs", pairs), ("thumbnails", thumbnails)):
        if count < 0:
            raise ValueError(f"{argument}: got {count}; allowed are integers from 0")

    def drawn(crop: int, count: int, seed: int, longest: int) -> PhotoPairs:
        return PhotoPairs(
            config.files(data), crop, count, seed, config.conditions(), config.shares(data),
            config.data.get("drawn", 0.0), longest, config.data.get("rooms", 0.0),
        )  # fmt: skip

    network = fitted = network.eval()
    if pairs:
        crops = drawn(PAIR_CROP, pairs, PAIR_SEED, PAIR_LONGEST)
        fitted = fit_head(network, *head_equations(network, crops, pairs))
    if not thumbnails:
        return fitted
    whole = drawn(THUMBNAIL_CROP, thumbnails, THUMBNAIL_SEED, THUMBNAIL_LONGEST)
    return distil_tone_head(fitted, tone_thumbnails(network, whole, thumbnails))


def _share(text: str) -> tuple[Path, float]:
    share, _, path = text.partition(":")
    try:
        return Path(path), float(share)
    except ValueError:  # a path without a share
        return Path(text), 1.0


def main(arguments: list[str] | None = None) -> None:
    """Mix weights if there are several, fit both layers, and write the weights."""
    parser = argparse.ArgumentParser(
        prog="python -m napari_dcr.training.refit", description=__doc__.partition("\n\n")[2]
    )
    files = "weights files or checkpoints (.pt), several as SHARE:FILE with shares that sum to 1"
    parser.add_argument("weights", type=_share, nargs="+", metavar="WEIGHTS", help=files)
    parser.add_argument(
        "--global-net", type=_share, nargs="+", metavar="WEIGHTS",
        help="the same for the global network, if it is not from the same files",
    )  # fmt: skip
    parser.add_argument(
        "--run", default="photo", help="configuration of the run: TOML file or name"
    )
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("NAPARI_DCR_DATA", "data"), help="data folder"
    )
    parser.add_argument(
        "--pairs", type=int, default=PAIRS, help="pairs for the head; 0 leaves it as it is"
    )
    parser.add_argument(
        "--thumbnails", type=int, default=THUMBNAILS,
        help="pairs for the tone curve; 0 leaves it as it is",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="weights file")
    options = parser.parse_args(arguments)
    config = TrainingConfig.read(options.run)
    shares = options.global_net and dict(options.global_net)
    network = mixed(config.cascade(), dict(options.weights), shares)
    result = refit(network, config, options.data, options.pairs, options.thumbnails)
    record = {"pairs": options.pairs, "thumbnails": options.thumbnails, "commit": commit()}
    print(options.out, weights.save(result, options.out, {"refit": record}))


if __name__ == "__main__":
    main()
