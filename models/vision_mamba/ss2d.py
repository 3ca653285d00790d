"""SS2D: the selective scan over the cells of an image in four directions, so that each cell is reached from every one.

Source  Liu et al. 2024, VMamba, section 4.2, in the form that its authors call v05_noz: without a gate, with one state
and no expansion by default. Initial values are those of Gu and Dao 2023, Mamba, section 3.6.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from models.vision_mamba.selective_scan import selective_scan

if TYPE_CHECKING:
    from torch import Tensor

# B rows, H W cells, K directions, D channels, N states, R rank of the step sizes, L length, P parameters of a token

DIRECTIONS = 4
STEP_RANGE = 1e-3, 1e-1
"""Initial step sizes are drawn log-uniformly from this range."""


class SS2D(nn.Module):
    """(B, H, W, channels) to the same shape, for images of any size. The scan itself runs in float32."""

    def __init__(self, channels: int, *, num_states: int = 1, expansion: int = 1) -> None:
        """Make one for so many channels, which are `expansion` times as many inside."""
        super().__init__()
        inner, rank = expansion * channels, math.ceil(channels / 16)
        self._sizes = rank, num_states, num_states
        self.in_proj = nn.Linear(channels, inner, bias=False)
        self.conv = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.parameters_proj = nn.Linear(inner, DIRECTIONS * sum(self._sizes), bias=False)
        self.step_weight_KDR = nn.Parameter(torch.empty(DIRECTIONS, inner, rank).uniform_(-1, 1) / rank**0.5)
        self.step_bias_KD = nn.Parameter(_initial_step_bias(DIRECTIONS, inner))
        states_N = torch.arange(1, num_states + 1, dtype=torch.float32)
        self.log_decay_KDN = nn.Parameter(states_N.log().repeat(DIRECTIONS, inner, 1))
        self.skip_KD = nn.Parameter(torch.ones(DIRECTIONS, inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, image_BHWD: Tensor) -> Tensor:
        """Apply it."""
        inner_BDHW = self.conv(self.in_proj(image_BHWD).permute(0, 3, 1, 2))
        inner_BHWD = functional.silu(inner_BDHW).permute(0, 2, 3, 1)
        out_BHWD: Tensor = self.out_proj(self.out_norm(self._scan(inner_BHWD)))
        return out_BHWD

    def _scan(self, image_BHWD: Tensor) -> Tensor:
        parameters_BHWKP = self.parameters_proj(image_BHWD).unflatten(-1, (DIRECTIONS, -1))
        step_LBKR, write_LBKN, read_LBKN = ordered(parameters_BHWKP).split(self._sizes, -1)
        u_LBKD = ordered(image_BHWD.unsqueeze(3).expand(-1, -1, -1, DIRECTIONS, -1))
        delta_LBKD = torch.einsum("lbkr,kdr->lbkd", step_LBKR, self.step_weight_KDR)
        u_BKDL, delta_BKDL, B_BKNL, C_BKNL = (one.movedim(0, -1) for one in (u_LBKD, delta_LBKD, write_LBKN, read_LBKN))
        A_KDN = -self.log_decay_KDN.to(torch.promote_types(self.log_decay_KDN.dtype, torch.float32)).exp()
        y_BKDL = selective_scan(u_BKDL, delta_BKDL, A_KDN, B_BKNL, C_BKNL, self.skip_KD, self.step_bias_KD)
        return merged(y_BKDL.movedim(-1, 0), *image_BHWD.shape[1:3])


def ordered(image_BHWKD: Tensor) -> Tensor:
    """Tokens (L, B, K, D): direction 0 by rows from the top left, 1 by columns, 2 and 3 the same from the end."""
    tokens = []
    for direction, rows_HWBD in enumerate(image_BHWKD.permute(1, 2, 0, 3, 4).unbind(3)):
        tokens_LBD = (rows_HWBD.transpose(0, 1) if direction % 2 else rows_HWBD).flatten(0, 1)
        tokens.append(tokens_LBD.flip(0) if direction >= 2 else tokens_LBD)
    return torch.stack(tokens, 2)


def merged(tokens_LBKD: Tensor, height: int, width: int) -> Tensor:
    """The image (B, H, W, D) whose cells are the sums of their tokens in the order that `ordered` gives them."""
    rows_LBD, columns_LBD, rows_back_LBD, columns_back_LBD = tokens_LBKD.unbind(2)
    rows_HWBD = (rows_LBD + rows_back_LBD.flip(0)).unflatten(0, (height, width))
    columns_WHBD = (columns_LBD + columns_back_LBD.flip(0)).unflatten(0, (width, height))
    image_HWBD: Tensor = rows_HWBD + columns_WHBD.transpose(0, 1)
    return image_HWBD.permute(2, 0, 1, 3)


def _initial_step_bias(*shape: int) -> Tensor:
    """Values whose softplus is log-uniform in STEP_RANGE."""
    low, high = map(math.log, STEP_RANGE)
    step = torch.empty(shape).uniform_(low, high).exp()
    return step + torch.log(-torch.expm1(-step))
