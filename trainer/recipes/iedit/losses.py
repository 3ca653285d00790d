"""The losses of iEdit, equations 1, 4, 5 and 8 to 12, one value a sample.

Source  arXiv 2305.05947, sections 3.3 and 3.4.

Chosen, where the paper does not say:

- A squared norm is the mean over all elements of a sample, so that weights do not depend on the size of the image. With
  a mask it is the mean over all positions too, not over those inside: a small edit weighs little.
- Images are multiplied with masks in the range 0 to 1, where outside becomes black, and edited images are not clamped.
- Masks over latents are soft at the edge: the share of the cell that is inside.
- A sample without a phrase (nothing is where something was removed) has no local loss: it is 0.
- The mean over several feature maps is that of their means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from models.loss_protocols import DifferentiableImageText, PerceptualFeatures

# B rows, C channels, H W pixels, h w cells of a latent


def ldm_loss(source_noise_BChw: Tensor, predicted_BChw: Tensor) -> Tensor:
    """Equation 1: L_LDM = ||epsilon_1 - epsilon_theta||^2, (B,): the source's own noise, under the target's caption."""
    return _mean_square(source_noise_BChw - predicted_BChw)


def paired_loss(target_noise_BChw: Tensor, predicted_BChw: Tensor) -> Tensor:
    """Equation 4: L_paired = ||epsilon_2 - epsilon_theta||^2, (B,)."""
    return _mean_square(target_noise_BChw - predicted_BChw)


def mask_loss(
    source_noise_BChw: Tensor,
    target_noise_BChw: Tensor,
    predicted_BChw: Tensor,
    source_mask_B1hw: Tensor,
    target_mask_B1hw: Tensor,
) -> Tensor:
    """Equations 8 and 9: ||M_2 (epsilon_2 - epsilon_theta)||^2 + ||(1 - M_1) (epsilon_1 - epsilon_theta)||^2, (B,)."""
    foreground_B = _mean_square(target_mask_B1hw * (target_noise_BChw - predicted_BChw))
    background_B = _mean_square((1 - source_mask_B1hw) * (source_noise_BChw - predicted_BChw))
    return foreground_B + background_B


def global_loss(clip: DifferentiableImageText, edited_BCHW: Tensor, captions: Sequence[str]) -> Tensor:
    """Equation 5: L_global = D_CLIP(x^_1, y_2), (B,). Images from 0 to 1."""
    return clip.distance(edited_BCHW, captions)


def local_loss(
    clip: DifferentiableImageText, edited_BCHW: Tensor, source_mask_B1HW: Tensor, phrases: Sequence[str]
) -> Tensor:
    """Equation 11: L_loc = D_CLIP(x^_1 M_1, y_2^diff), (B,). Images from 0 to 1."""
    loss_B = edited_BCHW.flatten(1)[:, 0] * 0  # 0 with a gradient: it may be the only loss
    named = [row for row, phrase in enumerate(phrases) if phrase]
    if not named:
        return loss_B
    found_N = clip.distance((edited_BCHW * source_mask_B1HW)[named], [phrases[row] for row in named])
    return loss_B.index_copy(0, torch.tensor(named, device=loss_B.device), found_N.to(loss_B.dtype))


def perceptual_loss(
    network: PerceptualFeatures,
    edited_BCHW: Tensor,
    target_BCHW: Tensor,
    source_mask_B1HW: Tensor,
    target_mask_B1HW: Tensor,
) -> Tensor:
    """Equation 10: L_perc = ||V(x^_1 M_1) - V(x_2 M_2)||^2, (B,). Images from 0 to 1."""
    found = network.features(edited_BCHW * source_mask_B1HW)
    with torch.no_grad():
        wanted = network.features(target_BCHW * target_mask_B1HW)
    return torch.stack([_mean_square(one - other) for one, other in zip(found, wanted, strict=True)]).mean(0)


def weighted_sum(
    time_frac_B: Tensor,
    *,
    latent_B: Tensor | None = None,
    global_B: Tensor | None = None,
    local_B: Tensor | None = None,
    perceptual_B: Tensor | None = None,
    lambda_perc: float,
) -> Tensor:
    """Equation 12: (1 - t/T) (L_loc + L_global) + t/T L_mask + lambda L_perc, (B,).

    `time_frac_B` is t/T with t from 1 to T, so that the noisiest step has the weight 1. The latent loss is L_mask,
    L_paired as in section 3.3, or L_LDM as in rows 2 and 3 of table 2. A loss that is None is left out.
    """
    total_B = torch.zeros_like(time_frac_B)
    for loss_B, weight in (
        (local_B, 1 - time_frac_B), (global_B, 1 - time_frac_B), (latent_B, time_frac_B), (perceptual_B, lambda_perc),
    ):  # fmt: skip
        if loss_B is not None:
            total_B = total_B + weight * loss_B
    return total_B


def _mean_square(difference: Tensor) -> Tensor:
    return difference.square().flatten(1).mean(1)
