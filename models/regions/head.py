"""The network that predicts where an instruction changes an image, over the tokens of a frozen CLIP.

    F_edited = F_img + CrossAttention(F_img, F_ins)      patches look at the words of the instruction
    F_region = F_edited + SelfAttention(F_edited)        patches look at each other
    P_region = sigmoid(MLP(F_region))                    one probability a patch
    f_sem(F)                                             a patch in the space of texts, for the semantic losses alone

Source  Beyond Editing Pairs (arXiv 2505.19352), figure 1, for the order of the parts. Chosen: one layer of each, layer
norm before attention, residual sums, one f_sem for both losses, widths. ADR-0013 has the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

    from models.loss_protocols import TextTokens

# B rows, N patches, L tokens, D embedding


class RegionFeatures(NamedTuple):
    """What the head makes of a batch of images and instructions."""

    logit_BN: Tensor
    """The region before the sigmoid."""
    original_BD: Tensor
    """The mean over patches of f_sem of the image's features."""
    edited_BD: Tensor
    """The same after the patches have looked at the instruction."""


class RegionHead(nn.Module):
    """Cross-attention, self-attention and an MLP for each patch. `dim` is a multiple of `num_heads`."""

    def __init__(self, dim: int, *, num_heads: int, hidden: int) -> None:
        """`dim` is the width of the tokens, `hidden` that of the MLP that gives the probability."""
        super().__init__()
        attention: Any = nn.MultiheadAttention
        self.image_norm, self.text_norm, self.edited_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.cross_attention = attention(dim, num_heads, batch_first=True)
        self.self_attention = attention(dim, num_heads, batch_first=True)
        self.semantic = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.region = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, patch_BND: Tensor, instruction: TextTokens) -> RegionFeatures:
        """The region of each image's instruction, and features for the semantic losses."""
        words_BLD, is_padding_BL = self.text_norm(instruction.token_BLD), ~instruction.is_token_BL
        found_BND, _ = self.cross_attention(
            self.image_norm(patch_BND), words_BLD, words_BLD, key_padding_mask=is_padding_BL, need_weights=False
        )
        edited_BND = patch_BND + found_BND
        normed_BND = self.edited_norm(edited_BND)
        region_BND = edited_BND + self.self_attention(normed_BND, normed_BND, normed_BND, need_weights=False)[0]
        return RegionFeatures(
            self.region(region_BND).squeeze(-1),
            self.semantic(patch_BND).mean(1),
            self.semantic(edited_BND).mean(1),
        )
