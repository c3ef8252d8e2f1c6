"""Metrics of photographs, with the conventions of the low-light literature.

Pictures are (h, w, 3) uint8; results are rounded to 8 bits before scoring, like their truth.  Luma is
that of Rec. 601.  `napari_dcr.training.evaluation.niqe` scores pictures without a truth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PILImage
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.transform import downscale_local_mean

from napari_dcr.network.global_net import LUMA

Picture = NDArray[np.uint8]
Values = NDArray[np.float64]

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang et al. 2003, section 3.2)."""

MS_SSIM_SIDE = 11 * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
"""Shortest side for MS-SSIM: at the coarsest scale the window still has its 11 pixels."""

BLOWN = 250
"""Value from which a channel counts as blown out."""


def _luma(picture: Picture) -> Values:
    return picture.astype(np.float64) @ LUMA


def luma8(picture: Picture) -> Picture:
    """Rec. 601 luma, rounded to 8 bits."""
    return np.rint(_luma(picture)).astype(np.uint8)


def to_8_bits(pixels: Values) -> Picture:
    """Round display values in [0, 1] to 8 bits."""
    return np.rint(pixels * 255).astype(np.uint8)


def psnr(result: Picture, truth: Picture) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels, peak 255.

    It is infinite for equal pictures.
    """
    with np.errstate(divide="ignore"):
        return float(peak_signal_noise_ratio(truth, result, data_range=255))


def match_mean(result: Picture, truth: Picture) -> Picture:
    """Scale a result to the truth's mean luma ("GT-mean"), as KinD does (Zhang et al. 2019).

    The score then depends on the brightness of the truth, so report it only beside the score without
    scaling, and call it GT-mean.
    """
    ratio = _luma(truth).mean() / max(_luma(result).mean(), 1e-6)
    return np.clip(np.rint(result * ratio), 0, 255).astype(np.uint8)


def ssim(result: Picture, truth: Picture) -> float:
    """Mean of the structural similarities of R, G and B.

    The constants are those of Wang et al. 2004: an 11x11 Gaussian window with sigma 1.5, population
    covariance, K1 0.01 and K2 0.03.  Only windows that lie inside the picture count.
    Retinexformer, HVI-CIDNet and most LOL tables since 2023 use this convention.
    """
    return _ssim(result, truth, channel_axis=-1)


def ssim_luma(result: Picture, truth: Picture) -> float:
    """Structural similarity of the 8-bit luma, with the Gaussian window of Wang et al. 2004.

    It uses the same window and constants as `ssim`, on one grey picture, as the authors of SSIM
    recommend and as the ``ssim`` of IQA-PyTorch does (Y of YIQ, not reduced; it also clips negative
    local contrast terms at 0).  Values are higher than those of `ssim`.  LLFlow (Wang et al. 2022)
    scores grey pictures, too, but with scikit-image's default, a 7x7 uniform window.
    """
    return _ssim(luma8(result), luma8(truth))


def ms_ssim(result: Picture, truth: Picture) -> float:
    """Multi-scale structural similarity of luma: five scales, the published weights.

    The method is that of Wang, Simoncelli & Bovik 2003.  As in their code, each scale consists of the
    means of 2x2 pixels of the finer one, and an odd last row or column is repeated.  A scale whose
    mean contrast-structure term is negative counts as 0.

    Raises
    ------
    ValueError
        If a side is shorter than `MS_SSIM_SIDE` pixels.
    """
    if min(truth.shape[:2]) < MS_SSIM_SIDE:
        height, width = truth.shape[:2]
        raise ValueError(
            f"truth: got {width} x {height} pixels; MS-SSIM needs sides of {MS_SSIM_SIDE} or more"
        )
    a, b = (luma8(picture).astype(np.float64) for picture in (result, truth))
    product = 1.0
    *fine, coarsest = MS_SSIM_WEIGHTS
    for weight in fine:
        # A K1 above all values makes the luminance term 1, so that contrast and structure remain.
        product *= max(_ssim(a, b, K1=1e6), 0.0) ** weight
        a, b = _halved(a), _halved(b)
    return float(product * max(_ssim(a, b), 0.0) ** coarsest)


def _ssim(
    result: NDArray[np.generic],
    truth: NDArray[np.generic],
    channel_axis: int | None = None,
    K1: float = 0.01,
) -> float:
    return float(
        structural_similarity(
            truth, result, data_range=255, channel_axis=channel_axis, K1=K1,
            gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
    )  # fmt: skip


def _halved(grey: Values) -> Values:
    height, width = grey.shape
    even = np.pad(grey, ((0, height % 2), (0, width % 2)), mode="symmetric")
    return downscale_local_mean(even, (2, 2))


def ciede2000(result: Picture, truth: Picture) -> float:
    """Mean colour difference CIEDE2000 (D65, 2 degree observer); about 1 is just noticeable."""
    return float(deltaE_ciede2000(rgb2lab(truth), rgb2lab(result)).mean())


def ciede2000_hue(result: Picture, truth: Picture) -> float:
    """Mean of the hue term |dH' / (kH SH)| of CIEDE2000, which measures colour casts."""
    _, _, hue, _ = ciede2000_terms(rgb2lab(truth), rgb2lab(result))
    return float(np.abs(hue).mean())


def ciede2000_terms(lab1: Values, lab2: Values) -> tuple[Values, Values, Values, Values]:
    """Split the CIEDE2000 difference into its terms.

    The terms are those of Sharma, Wu & Dalal, "The CIEDE2000 color-difference formula", 2005,
    equations 2 to 21, with kL = kC = kH = 1.

    Parameters
    ----------
    lab1, lab2 : ndarray, shape (..., 3)
        CIE L*a*b*; the first is the reference.

    Returns
    -------
    lightness, chroma, hue, rotation : ndarray, shape (...)
        The difference is sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue).
    """
    (light1, a1, b1), (light2, a2, b2) = (
        np.moveaxis(np.asarray(x, float), -1, 0) for x in (lab1, lab2)
    )
    seventh = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    stretch = 1.5 - 0.5 * np.sqrt(seventh / (seventh + 25.0**7))
    chroma1, chroma2 = np.hypot(stretch * a1, b1), np.hypot(stretch * a2, b2)
    hue1 = np.degrees(np.arctan2(b1, stretch * a1)) % 360
    hue2 = np.degrees(np.arctan2(b2, stretch * a2)) % 360
    coloured = chroma1 * chroma2 != 0
    turn = np.where(coloured, hue2 - hue1 - 360 * np.round((hue2 - hue1) / 360), 0)
    # Average hues along the shorter arc; a grey has no hue, so the other colour's hue is used.
    hue = np.where(coloured, (hue1 + turn / 2) % 360, hue1 + hue2)
    lightness, chroma = (light1 + light2) / 2, (chroma1 + chroma2) / 2

    def cosine(factor: float, degrees: float) -> Values:
        return np.cos(np.radians(factor * hue + degrees))

    weight = (
        1 - 0.17 * cosine(1, -30) + 0.24 * cosine(2, 0) + 0.32 * cosine(3, 6) - 0.2 * cosine(4, -63)
    )
    off_grey = (lightness - 50) ** 2
    seventh = chroma**7
    angle = np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2)))
    return (
        (light2 - light1) / (1 + 0.015 * off_grey / np.sqrt(20 + off_grey)),
        (chroma2 - chroma1) / (1 + 0.045 * chroma),
        2
        * np.sqrt(chroma1 * chroma2)
        * np.sin(np.radians(turn / 2))
        / (1 + 0.015 * chroma * weight),
        -2 * np.sqrt(seventh / (seventh + 25.0**7)) * np.sin(angle),
    )


def chroma(picture: Picture) -> float:
    """Mean CIELAB chroma (D65): 0 for grey."""
    _, a, b = np.moveaxis(rgb2lab(picture), -1, 0)
    return float(np.hypot(a, b).mean())


def chroma_ratio(result: Picture, truth: Picture) -> float:
    """Ratio of the root mean squares of CIELAB chroma, result over truth; above 1 is more colourful."""
    mine, theirs = (float(np.square(rgb2lab(p)[..., 1:]).sum(-1).mean()) for p in (result, truth))
    return float(np.sqrt(mine / theirs)) if theirs else float("nan")


def lightness_levels(picture: Picture) -> tuple[float, float]:
    """Black and white level: the quantiles 0.01 and 0.995 of CIELAB lightness, 0 to 100."""
    low, high = np.quantile(rgb2lab(picture)[..., 0], [0.01, 0.995])
    return float(low), float(high)


def texture_gain(result: Picture, truth: Picture) -> float:
    """Share of the truth's fine luma texture that a result keeps; 1 for all of it.

    This is the regression of the result on the truth in the band between Gaussians of 0.5 and 2
    pixels.  Noise that is independent of the truth does not change it on average.
    """
    mine, theirs = (
        ndimage.gaussian_filter(_luma(p), 0.5) - ndimage.gaussian_filter(_luma(p), 2)
        for p in (result, truth)
    )
    return float((mine * theirs).sum() / (theirs * theirs).sum())


def lightness_order_error(result: Picture, low: Picture) -> float:
    """Lightness order error (LOE) of Wang et al. 2013: how often the order of lightness changes.

    Lightness is the largest of R, G and B, in a picture that is reduced to 50 pixels on the shorter
    side (bicubic with antialiasing).  For every pixel, the metric counts the other pixels whose
    order relative to it ("at least as light as") changed, and averages these counts.  It therefore
    grows with the number of pixels: 2 500 for a square, 3 750 for 3:2.  This reduction is usual
    since LIME; the code of Wang et al. uses every n-th pixel of a local maximum instead.
    """
    before, after = (_reduced(picture.max(-1), 50).ravel() for picture in (low, result))
    changed = (before[:, None] >= before) != (after[:, None] >= after)
    return float(changed.sum(1).mean())


def _reduced(grey: Picture, shorter: int) -> Picture:
    height, width = grey.shape
    scale = shorter / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(PILImage.fromarray(grey).resize(size, PILImage.Resampling.BICUBIC))


def blown_share(picture: Picture) -> float:
    """Percentage of pixels with a channel at `BLOWN` or above."""
    return float((picture.max(-1) >= BLOWN).mean() * 100)


def highlight_contrast(result: Picture, low: Picture, side: int = 7) -> float:
    """Share of local contrast that the brightest tenth of the input keeps.

    Local contrast is the standard deviation of luma in windows of ``side`` x ``side`` pixels.  It is
    averaged over the pixels whose luma in the input reaches the input's 90 % quantile, and the mean of
    the result is divided by that of the input.  NaN if the input has no contrast there.
    """
    before, after = _luma(low), _luma(result)
    bright = before >= np.quantile(before, 0.9)
    kept = _local_deviation(before, side)[bright].mean()
    return float(_local_deviation(after, side)[bright].mean() / kept) if kept > 0 else float("nan")


def _local_deviation(grey: Values, side: int) -> Values:
    mean = ndimage.uniform_filter(grey, side)
    return np.sqrt(np.maximum(ndimage.uniform_filter(grey**2, side) - mean**2, 0))
