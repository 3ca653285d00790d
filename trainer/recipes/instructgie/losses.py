"""The two losses of InstructGIE beside that of the noise, one value a sample.

Source  Meng et al. 2024, InstructGIE (ECCV 2024), sections 3.2 and 3.4, which name what is compared and no formula.

Chosen, where the paper does not say:

- the output is the clean latent x0^ that one prediction implies, of the output's cell alone;
- the shift of an edit is s(a, b) = E(b) - E(a) for CLIP's image embeddings E of length 1;
- both losses are weighted by 1 - t/T, iEdit's rule for losses that need a clean image, since x0^ is poor at high noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

# B rows, C channels, h w cells of a latent, D embedding

SMALLEST_AREA = 1e-6
"""Area, in cells of a latent, below which a mask counts as empty."""


def shift_loss(edited_BD: Tensor, target_BD: Tensor, source_BD: Tensor) -> Tensor:
    """L_es = 1 - cos(s(source, edited), s(source, target)), (B,), 0 to 2. Embeddings have length 1."""
    return 1 - functional.cosine_similarity(edited_BD - source_BD, target_BD - source_BD, dim=-1)


def selective_loss(clean_BChw: Tensor, wanted_BChw: Tensor, area_B1hw: Tensor) -> Tensor:
    """L_sam = sum M (x0^ - x0)^2 / sum M, the mean over channels, (B,). It is 0 for a sample whose mask is empty.

    `area_B1hw` is M: the share, 0 to 1, of each cell that is inside.
    """
    error_B1hw = (clean_BChw - wanted_BChw).square().mean(1, keepdim=True)
    area_B = area_B1hw.sum((1, 2, 3))
    total_B = (area_B1hw * error_B1hw).sum((1, 2, 3))
    return total_B / area_B.clamp(min=SMALLEST_AREA)


def clean_weight(timestep_B: Tensor, num_timesteps: int) -> Tensor:
    """1 - t/T, (B,), for timestep indices from 0 to T - 1."""
    return 1 - timestep_B / num_timesteps
