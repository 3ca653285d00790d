"""VSS block: SS2D and a two-layer network, each after a layer norm and added to its input.

Source  Liu et al. 2024, VMamba, section 4.1 and figure 3 (d).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from models.vision_mamba.ss2d import SS2D

if TYPE_CHECKING:
    from torch import Tensor

# B rows, C channels, H W cells


class VSSBlock(nn.Module):
    """(B, C, H, W) to the same shape, for images of any size."""

    def __init__(self, channels: int, *, mlp_ratio: int = 4, num_states: int = 1, expansion: int = 1) -> None:
        """Make one for so many channels; `mlp_ratio` times as many are inside its network of two layers."""
        super().__init__()
        self.scan_norm = nn.LayerNorm(channels)
        self.scan = SS2D(channels, num_states=num_states, expansion=expansion)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, mlp_ratio * channels), nn.GELU(), nn.Linear(mlp_ratio * channels, channels)
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Apply it."""
        image_BHWC = image_BCHW.permute(0, 2, 3, 1)
        image_BHWC = image_BHWC + self.scan(self.scan_norm(image_BHWC))
        out_BHWC: Tensor = image_BHWC + self.mlp(self.mlp_norm(image_BHWC))
        return out_BHWC.permute(0, 3, 1, 2)
