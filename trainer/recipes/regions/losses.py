"""The losses of the recipe `regions`, each one number a sample.

    L_semOriginal = 1 - cos(mean f_sem(F_img), T_o)         L_semEdited = 1 - cos(mean f_sem(F_edited), T_e)
    L_CLIPg = 1 - cos(I_res, T_e)                           L_CLIPd = 1 - cos(I_res - I_ori, T_e - T_o)
    L_CLIPs = mean_ij (cos(F_res_i, F_res_j) - cos(F_img_i, F_img_j))^2

Source  Beyond Editing Pairs (arXiv 2505.19352), figure 1: which features are compared. Chosen: 1 - cos for each, as
losses through CLIP are usually taken (Patashnik et al. 2021, StyleCLIP; Gal et al. 2022, StyleGAN-NADA); the structure
loss of Learnable Regions (Lin et al. 2024); the floor under the length of a shift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cosine_similarity, normalize

if TYPE_CHECKING:
    from torch import Tensor

# B rows, N patches, D embedding

MIN_SHIFT = 0.05
"""Least length by which a shift of an image is divided: that of an unchanged image is 0, and its gradient infinite."""


def semantic_loss(found_BD: Tensor, text_BD: Tensor) -> Tensor:
    """(B,): 1 - cosine with the row's text."""
    return 1 - cosine_similarity(found_BD, text_BD, dim=-1)


def global_loss(image_BD: Tensor, text_BD: Tensor) -> Tensor:
    """(B,): 1 - cosine of image and text, rows of length 1."""
    return 1 - (image_BD * text_BD).sum(-1)


def direction_loss(image_BD: Tensor, source_BD: Tensor, target_text_BD: Tensor, source_text_BD: Tensor) -> Tensor:
    """(B,): 1 - cosine of both shifts. A shift of the image below MIN_SHIFT counts as one of that length."""
    shift_BD = image_BD - source_BD
    direction_BD = normalize(target_text_BD - source_text_BD, dim=-1)
    return 1 - (shift_BD * direction_BD).sum(-1) / _length(shift_BD).clamp(min=MIN_SHIFT)


def structure_loss(patch_BND: Tensor, source_BND: Tensor) -> Tensor:
    """(B,): mean squared difference of the cosines between all patches of an image and of its source."""
    return (_self_similarity(patch_BND) - _self_similarity(source_BND)).square().mean((1, 2))


def _self_similarity(patch_BND: Tensor) -> Tensor:
    unit_BND = normalize(patch_BND, dim=-1)
    return unit_BND @ unit_BND.transpose(1, 2)


def _length(shift_BD: Tensor) -> Tensor:
    """The length of each row, with gradient 0 in place of none at 0."""
    square_B = shift_BD.square().sum(-1)
    is_zero_B = square_B == 0
    return torch.where(is_zero_B, 0.0, torch.where(is_zero_B, 1.0, square_B).sqrt())
