"""The composed image X_res = M X_gen + (1 - M) X, and how the losses reach the region through its threshold.

    P = sigmoid(z)                      the head's probabilities, enlarged to pixels
    H = [sigmoid(z + noise) > threshold]
    M = H + P - stop_gradient(P)        H in value, with the gradient of P

The generator is not differentiated. With g = dL/dX_res, straight-through gives dL/dP = sum over colours of
g (X_gen - X), whatever the threshold, the noise and H are: where the generated image is better for the loss the region
grows, and where it is worse it shrinks.

Source  Bengio et al. 2013, straight-through estimator; Maddison et al. 2017 and Jang et al. 2017 for the noise. The
paper does not say how its losses reach the mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from models.regions.region_maps import enlarged

if TYPE_CHECKING:
    from torch import Tensor

# B rows, N patches, H W pixels


class Box(NamedTuple):
    """A box of pixels, lower and right edges exclusive."""

    top: int
    left: int
    lower: int
    right: int


def straight_through(
    logit_BN: Tensor, noise_BN: Tensor, grid: tuple[int, int], size: tuple[int, int], threshold: float
) -> Tensor:
    """The mask M (B, 1, H, W): 0 or 1 in value, with the gradient of the enlarged probabilities."""
    prob_B1HW = enlarged(logit_BN.sigmoid(), grid, *size)
    with torch.no_grad():
        hard_B1HW = (enlarged((logit_BN + noise_BN).sigmoid(), grid, *size) > threshold).to(prob_B1HW)
    return hard_B1HW + prob_B1HW - prob_B1HW.detach()


def logistic(uniform_BN: Tensor) -> Tensor:
    """Logistic noise of numbers from 0, included, to 1: the difference of two Gumbel variables."""
    inner_BN = uniform_BN.clamp(1e-6, 1 - 1e-6)
    return inner_BN.log() - (-inner_BN).log1p()


def composed(mask_B1HW: Tensor, generated_BCHW: Tensor, source_BCHW: Tensor) -> Tensor:
    """X_res (B, C, H, W)."""
    return mask_B1HW * generated_BCHW + (1 - mask_B1HW) * source_BCHW


def boxes_of(prob_BN: Tensor, grid: tuple[int, int], size: tuple[int, int], threshold: float, cells: int) -> list[Box]:
    """For each row the smallest box of cells that holds its region and one patch more; the image where it is empty.

    The image is divided into `cells` rows and columns. Few cells make few different boxes.
    """
    is_inside_Bhw = (prob_BN > threshold).unflatten(-1, grid).cpu()
    found = []
    for is_inside_hw in is_inside_Bhw:
        top, lower = _edges(is_inside_hw.any(1), size[0], cells)
        left, right = _edges(is_inside_hw.any(0), size[1], cells)
        found.append(Box(top, left, lower, right))
    return found


def _edges(is_inside: Tensor, side_px: int, cells: int) -> tuple[int, int]:
    """First and last edge along one side, in pixels."""
    places = is_inside.nonzero().flatten().tolist()
    count = len(is_inside)
    if not places:
        return 0, side_px
    first, last = max(places[0] - 1, 0), min(places[-1] + 2, count)
    cell = first * cells // count, -(-last * cells // count)
    return cell[0] * side_px // cells, cell[1] * side_px // cells
