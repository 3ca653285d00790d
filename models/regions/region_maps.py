"""Regions as maps of patches and as masks of pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from models.protocols import Bools, Floats

# B rows, N patches, h w rows and columns of patches, H W pixels


def enlarged(prob_BN: Tensor, grid: tuple[int, int], height: int, width: int) -> Tensor:
    """Probabilities of patches as maps of pixels (B, 1, height, width), bilinear."""
    from torch.nn.functional import interpolate

    prob_B1hw = prob_BN.unflatten(-1, grid)[:, None]
    enlarged_B1HW: Tensor = interpolate(prob_B1hw, (height, width), mode="bilinear", antialias=True).clamp(0, 1)
    return enlarged_B1HW


def mask_of(prob_HW: Floats, threshold: float) -> Bools:
    """The pixels that are more likely than `threshold`."""
    return prob_HW > threshold


def with_margin(mask_HW: Bools, margin_frac: float) -> Bools:
    """The mask and what is at most `margin_frac` of the image's shorter side away from it, along rows and columns."""
    import torch
    from torch.nn.functional import max_pool2d

    reach = math.floor(margin_frac * min(mask_HW.shape))
    if not reach or not mask_HW.any():
        return mask_HW
    mask_11HW: Any = torch.from_numpy(mask_HW)[None, None].float()
    grown: Bools = max_pool2d(mask_11HW, 2 * reach + 1, stride=1, padding=reach)[0, 0].bool().numpy()
    return grown
