"""Grids of two by two images of one size: an example above, the query below, the edited image at the lower right.

| example before the edit | example after the edit           |
| query                   | the query after the edit, or grey |

Works on tensors whose last two axes are height and width: images from -1 to 1, latents, masks. Owns places alone.

Source  Meng et al. 2024, InstructGIE, section 3 and figures 2 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

GREY = 0.0
"""The value of a cell that is to be drawn, and of an example that is left out, in images from -1 to 1."""

# B rows, C channels, H W pixels of a cell


def grid_of(example_source: Tensor, example_target: Tensor, query: Tensor, output: Tensor) -> Tensor:
    """The grid (B, C, 2 H, 2 W) of four cells (B, C, H, W)."""
    import torch

    above, below = torch.cat([example_source, example_target], -1), torch.cat([query, output], -1)
    return torch.cat([above, below], -2)


def condition_of(example_source: Tensor, example_target: Tensor, query: Tensor) -> Tensor:
    """The grid that a control network sees, (B, C, 2 H, 2 W): the cell of the output is grey."""
    import torch

    return grid_of(example_source, example_target, query, torch.full_like(query, GREY))


def without_examples(grid_BCHW: Tensor, is_dropped_B: Any) -> Tensor:
    """The grid with both cells of the example grey, for the rows that lose it."""
    import torch

    height = grid_BCHW.shape[-2] // 2
    below_BCHW = torch.full_like(grid_BCHW, GREY)
    below_BCHW[..., height:, :] = grid_BCHW[..., height:, :]
    return torch.where(is_dropped_B[:, None, None, None], below_BCHW, grid_BCHW)


def output_cell(grid: Tensor) -> Tensor:
    """The cell of the output: the last half of the height, the last half of the width."""
    height, width = (side // 2 for side in grid.shape[-2:])
    return grid[..., height:, width:]


def query_cell(grid: Tensor) -> Tensor:
    """The cell of the query."""
    height, width = (side // 2 for side in grid.shape[-2:])
    return grid[..., height:, :width]


def query_row(grid: Tensor) -> Tensor:
    """The lower half: query and output."""
    return grid[..., grid.shape[-2] // 2 :, :]
