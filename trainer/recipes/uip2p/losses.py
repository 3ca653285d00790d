"""The losses of UIP2P, one value a sample.

Source  Simsar et al. 2024, UIP2P (arXiv 2412.15216v1), section 4.2: L = L_CLIP + 0.5 L_attn + L_sim + L_recon.

Chosen, where the paper does not say:

- ||.||_2 is the mean of squares over all elements (`mean_square`), so that weights do not depend on the size of the
  image; `l2` is the root of the sum of squares.
- Pixels are compared between -1 and 1, as the autoencoder has them; images for CLIP are between 0 and 1, not clamped.
- A^(i) is the cross-attention of layer i, the mean over heads and over the tokens of the instruction without start and
  end of text, then stretched to 0 … 1. The paper shows one such map a direction, over two texts of unlike lengths.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

# B rows, C channels, H W pixels, D embedding, Q queries (places of a feature map), L tokens

Norm = Literal["mean_square", "l2"]

FLAT = 1e-5
"""A map whose range is smaller counts as the same everywhere."""


def direction_loss(edited_BD: Tensor, source_BD: Tensor, target_text_BD: Tensor, source_text_BD: Tensor) -> Tensor:
    """L_CLIP = 1 - cos(E_I(edit) - E_I(input), E_T(edit) - E_T(input)), (B,), 0 to 2. Embeddings have length 1."""
    return 1 - functional.cosine_similarity(edited_BD - source_BD, target_text_BD - source_text_BD, dim=-1)


def similarity_loss(edited_BD: Tensor, target_text_BD: Tensor) -> Tensor:
    """L_sim = 1 - cos(E_I(edit), E_T(edit)), (B,), 0 to 2. Embeddings have length 1."""
    return 1 - (edited_BD * target_text_BD).sum(-1)


def attention_loss(
    forward: Mapping[str, Tensor],
    reverse: Mapping[str, Tensor],
    forward_tokens_BL: Tensor,
    reverse_tokens_BL: Tensor,
    norm: Norm,
) -> Tensor:
    """L_attn = sum_i ||A_f^(i) - A_r^(i)||_2, (B,), over the layers i.

    `forward` and `reverse` are maps (B, Q, L) by layer; the tokens (B, L), bool, are true for those of the instruction.
    """
    distances = [
        distance(place_map(forward[name], forward_tokens_BL), place_map(reverse[name], reverse_tokens_BL), norm)
        for name in forward
    ]
    return torch.stack(distances).sum(0)


def place_map(map_BQL: Tensor, tokens_BL: Tensor) -> Tensor:
    """The mean over the tokens that are true, stretched so that each row (B, Q) goes from 0 to 1, float32 or wider.

    A flat map becomes zeros without gradient.
    """
    map_BQL = map_BQL.to(torch.promote_types(map_BQL.dtype, torch.float32))
    weights_BL = tokens_BL / tokens_BL.sum(1, keepdim=True).clamp(min=1)  # float32, as FLAT is 0 in float16
    pooled_BQ = (map_BQL * weights_BL[:, None]).sum(-1)
    low_B1, high_B1 = pooled_BQ.amin(1, keepdim=True), pooled_BQ.amax(1, keepdim=True)
    range_B1 = high_B1 - low_B1
    return torch.where(range_B1 < FLAT, 0.0, (pooled_BQ - low_B1) / range_B1.clamp(min=FLAT))


def reconstruction_loss(
    source_BCHW: Tensor, found_BCHW: Tensor, source_BD: Tensor, found_BD: Tensor, norm: Norm
) -> Tensor:
    """L_recon = ||I_input - I_recon||_2 + 1 - cos(E_I(input), E_I(recon)), (B,). Embeddings have length 1."""
    return distance(source_BCHW, found_BCHW, norm) + 1 - (source_BD * found_BD).sum(-1)


def distance(one: Tensor, other: Tensor, norm: Norm) -> Tensor:
    """||one - other||_2 of each row, (B,)."""
    difference = (one - other).flatten(1)
    if norm == "l2":
        length_B: Tensor = torch.linalg.vector_norm(difference, dim=1)
        return length_B
    return difference.square().mean(1)
