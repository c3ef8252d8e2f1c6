"""Metrics of photographs, with the conventions of the low-light literature.

Pictures are (h, w, 3) uint8: results are rounded to 8 bits before scoring, as
their truth is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_dcr.training.camera import LUMA

Picture = NDArray[np.uint8]


def psnr(result: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels, peak 255."""
    return float(peak_signal_noise_ratio(truth, result, data_range=255))


def match_mean(result: Picture, truth: Picture) -> Picture:
    """Scale a result to the truth's mean luma: "GT-mean", as KinD (Zhang et al. 2019) scores.

    The truth's brightness leaks into the score: report it second, and named.
    """
    ratio = (truth @ LUMA).mean() / max(float((result @ LUMA).mean()), 1e-6)
    return np.clip(np.rint(result * np.float64(ratio)), 0, 255).astype(np.uint8)


def ssim(result: Picture, truth: Picture) -> float:
    """Structural similarity (Wang et al. 2004): 11x11 Gaussian, sigma 1.5, mean over channels."""
    return float(
        structural_similarity(
            truth, result, data_range=255, channel_axis=-1,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
    )  # fmt: skip


def blown_share(picture: Picture) -> float:
    """Percentage of pixels with a channel at 250 or above."""
    return float((picture.max(-1) >= 250).mean() * 100)
