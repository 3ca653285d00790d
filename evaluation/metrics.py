"""The measures of one edit, as their papers or scripts define them. `frechet` compares two sets of images.

Images are RGB and equal in size; values run from 0 to 1. Embeddings have rows of length 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from models.protocols import Bools, Floats

    Doubles = npt.NDArray[np.float64]

CLIP_SCORE_WEIGHT = 2.5
MIN_CHANGE = 1e-4
"""A shorter difference of two embeddings is rounding: two files with the same pixels give about 1e-6."""
SSIM_WINDOW_PX = 7

# B rows, D embedding, H W pixels, C colours


def unit_range(image: Image) -> Doubles:
    """(H, W, 3), 0 to 1."""
    return np.asarray(image.convert("RGB"), np.float64) / 255


def resized_to(image: Image, size: tuple[int, int]) -> Image:
    """The image at `size` (width, height): bicubic, Pillow's default, which MagicBrush's script takes."""
    from PIL import Image as Pillow

    return image if image.size == size else image.resize(size, Pillow.Resampling.BICUBIC)


def l1(one_HWC: Doubles, other_HWC: Doubles, mask_HW: Bools | None = None) -> float | None:
    """Mean absolute difference, 0 to 1, in the mask if any, or None when it is empty."""
    return _mean(np.abs(one_HWC - other_HWC), mask_HW)


def l2(one_HWC: Doubles, other_HWC: Doubles, mask_HW: Bools | None = None) -> float | None:
    """Mean squared difference, 0 to 1, without a root, in the mask as in `l1`."""
    return _mean(np.square(one_HWC - other_HWC), mask_HW)


def ssim_map(one_HWC: Doubles, other_HWC: Doubles) -> Doubles:
    """(H, W, 3): structural similarity around each pixel, -1 to 1, by scikit-image with its default 7 x 7 window.

    Wang et al. 2004. Raises ValueError for images smaller than the window.
    """
    from skimage.metrics import structural_similarity

    if min(one_HWC.shape[:2]) < SSIM_WINDOW_PX:
        raise ValueError(
            f"an image of {one_HWC.shape[1]} x {one_HWC.shape[0]} pixels is too small for SSIM; it needs 7"
        )
    similarity: Any = structural_similarity
    map_HWC: Doubles = similarity(one_HWC, other_HWC, data_range=1.0, channel_axis=2, full=True)[1]
    return map_HWC


def ssim_in_and_out(one_HWC: Doubles, other_HWC: Doubles, mask_HW: Bools) -> tuple[float | None, float | None]:
    """SSIM-M and SSIM-notM: means of the SSIM map in the mask and outside, or None for no pixel. iEdit, 4.1."""
    map_HWC = ssim_map(one_HWC, other_HWC)
    return _mean(map_HWC, mask_HW), _mean(map_HWC, ~mask_HW)


def cosines(one_BD: Floats, other_BD: Floats) -> Doubles:
    """(B,): cosine of each row with the other's, -1 to 1: CLIP-I, CLIP-T and DINO."""
    return _cosines(one_BD.astype(np.float64), other_BD.astype(np.float64), 0)


def clip_scores(image_BD: Floats, text_BD: Floats) -> Doubles:
    """(B,): 100 * 2.5 * max(cosine, 0), 0 to 250, in percent. Hessel et al. 2021, CLIPScore."""
    return 100 * CLIP_SCORE_WEIGHT * np.maximum(cosines(image_BD, text_BD), 0)


def direction_cosines(source_BD: Floats, edited_BD: Floats, source_text_BD: Floats, target_text_BD: Floats) -> Doubles:
    """(B,): cosine of the images' change with the texts' change, -1 to 1, or 0 for no change.

    Rows come with length 1 and are then subtracted (some scripts subtract first): Gal et al. 2022, StyleGAN-NADA, as
    in InstructPix2Pix's compute_metrics.
    """
    images_BD = edited_BD.astype(np.float64) - source_BD
    return _cosines(images_BD, target_text_BD.astype(np.float64) - source_text_BD, MIN_CHANGE)


def _cosines(one_BD: Doubles, other_BD: Doubles, min_length: float) -> Doubles:
    """(B,): cosines, 0 where a row is not longer than `min_length`."""
    lengths_B, other_lengths_B = np.linalg.norm(one_BD, axis=1), np.linalg.norm(other_BD, axis=1)
    has_direction_B = (lengths_B > min_length) & (other_lengths_B > min_length)
    dots_B: Doubles = (one_BD * other_BD).sum(axis=1)
    found_B: Doubles = np.zeros(len(dots_B))
    np.divide(dots_B, lengths_B * other_lengths_B, out=found_B, where=has_direction_B)
    return found_B


def _mean(values_HWC: Doubles, mask_HW: Bools | None) -> float | None:
    chosen = values_HWC if mask_HW is None else values_HWC[mask_HW]
    return float(chosen.mean()) if chosen.size else None
