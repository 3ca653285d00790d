"""Compare two images pixel by pixel: mean difference and structural similarity, of the whole and outside of a region.

Source  Wang et al. 2004, SSIM, with the window of scikit-image's `structural_similarity`: uniform, 7 x 7 pixels, sample
        covariance, the mean over the windows that lie within the image and over the channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    from models.protocols import Bools

    Doubles = NDArray[np.float64]

# H W pixels, C channels, h w places of a window within the image

WINDOW_PX = 7
K1, K2 = 0.01, 0.03


def pixels_of(image: Image) -> Doubles:
    """(H, W, 3), 0 to 1, of an image in mode RGB."""
    return np.asarray(image, np.float64) / 255


def l1_scores(one_HWC: Doubles, other_HWC: Doubles, region_HW: Bools | None) -> tuple[float, float | None]:
    """Mean absolute difference, 0 to 1, of the whole and of what is outside of the region.

    The second is None without a region and where nothing is outside.
    """
    map_HW = np.abs(one_HWC - other_HWC).mean(axis=2)
    outside = None if region_HW is None or region_HW.all() else float(map_HW[~region_HW].mean())
    return float(map_HW.mean()), outside


def ssim_scores(one_HWC: Doubles, other_HWC: Doubles, region_HW: Bools | None) -> tuple[float | None, float | None]:
    """SSIM, -1 to 1, of the whole, and the mean over the windows that lie outside of the region as a whole.

    So what changes inside does not count as a change outside. None for images smaller than a window, without a region,
    and where no window is outside.
    """
    if min(one_HWC.shape[:2]) < WINDOW_PX:
        return None, None
    map_hw = ssim_map(one_HWC, other_HWC)
    whole = float(map_hw.mean())
    if region_HW is None:
        return whole, None
    is_outside_hw = _window_sums(region_HW.astype(np.int32)) == 0
    return whole, float(map_hw[is_outside_hw].mean()) if is_outside_hw.any() else None


def ssim_map(one_HWC: Doubles, other_HWC: Doubles) -> Doubles:
    """(H - 6, W - 6): SSIM of each window that lies within the images, the mean of the channels."""
    num_pixels = WINDOW_PX**2
    mean_one, mean_other = _window_sums(one_HWC) / num_pixels, _window_sums(other_HWC) / num_pixels
    unbiased = num_pixels / (num_pixels - 1)

    def covariance(a_HWC: Doubles, b_HWC: Doubles, mean_a: Doubles, mean_b: Doubles) -> Doubles:
        found: Doubles = unbiased * (_window_sums(a_HWC * b_HWC) / num_pixels - mean_a * mean_b)
        return found

    variances = covariance(one_HWC, one_HWC, mean_one, mean_one)
    variances += covariance(other_HWC, other_HWC, mean_other, mean_other)
    both = covariance(one_HWC, other_HWC, mean_one, mean_other)
    luminance = (2 * mean_one * mean_other + K1**2) / (mean_one**2 + mean_other**2 + K1**2)
    map_hw: Doubles = (luminance * (2 * both + K2**2) / (variances + K2**2)).mean(axis=2)
    return map_hw


def _window_sums(values_HW: NDArray[Any]) -> NDArray[Any]:
    """Sums over the windows within the first two axes: additions only, the same on every machine."""
    for axis in (0, 1):
        moved = np.moveaxis(values_HW, axis, 0)
        num_places = len(moved) - WINDOW_PX + 1
        total = moved[:num_places].copy()
        for start in range(1, WINDOW_PX):
            total += moved[start : start + num_places]
        values_HW = np.moveaxis(total, 0, axis)
    return values_HW
