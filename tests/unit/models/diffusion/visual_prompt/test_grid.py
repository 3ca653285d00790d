"""Places of a grid: four cells in, each found again where it belongs."""

import torch

from models.diffusion.visual_prompt.grid import (
    GREY,
    condition_of,
    grid_of,
    output_cell,
    query_cell,
    query_row,
    without_examples,
)

CELLS = [torch.full((2, 3, 4, 6), value) for value in (0.1, 0.2, 0.3, 0.4)]


def test_cells_lie_in_the_order_of_the_paper():
    grid = grid_of(*CELLS)
    assert grid.shape == (2, 3, 8, 12)
    corners = [grid[..., :4, :6], grid[..., :4, 6:], grid[..., 4:, :6], grid[..., 4:, 6:]]
    assert all(torch.equal(corner, cell) for corner, cell in zip(corners, CELLS, strict=True))
    assert torch.equal(query_cell(grid), CELLS[2])
    assert torch.equal(output_cell(grid), CELLS[3])
    assert torch.equal(query_row(grid), torch.cat(CELLS[2:], -1))


def test_condition_hides_the_output_alone():
    condition, grid = condition_of(*CELLS[:3]), grid_of(*CELLS)
    assert torch.equal(output_cell(condition), torch.full_like(CELLS[3], GREY))
    is_output = output_cell(torch.ones_like(grid))
    shown = grid.clone()
    output_cell(shown).sub_(is_output * CELLS[3])
    assert torch.equal(condition, shown)


def test_rows_without_example_keep_their_query():
    condition = condition_of(*CELLS[:3])
    found = without_examples(condition, torch.tensor([True, False]))
    assert torch.equal(found[1], condition[1])
    assert torch.equal(query_row(found[0]), query_row(condition[0]))
    assert bool((found[0, :, :4] == GREY).all())
