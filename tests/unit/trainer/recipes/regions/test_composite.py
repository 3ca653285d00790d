"""The composed image: its value, the straight-through gradient as derived, boxes and noise."""

import pytest
import torch

from models.regions.region_maps import enlarged
from trainer.recipes.regions.composite import Box, boxes_of, composed, logistic, straight_through

GRID, SIZE = (4, 4), (16, 16)


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def test_the_mask_is_hard_in_value(random):
    logit = torch.randn(2, 16, generator=random) * 3
    mask = straight_through(logit, torch.zeros_like(logit), GRID, SIZE, 0.5)
    assert mask.shape == (2, 1, *SIZE)
    torch.testing.assert_close(mask, (enlarged(logit.sigmoid(), GRID, *SIZE) > 0.5).float(), atol=1e-6, rtol=0)


def test_gradient_is_that_of_the_derivation(random):
    """dL/dz = p (1 - p) E^T[sum over colours of g (X_gen - X)], E the enlargement, for any threshold and noise."""
    logit = torch.randn(2, 16, generator=random, dtype=torch.float64).requires_grad_()
    generated, source, upstream = torch.rand(3, 2, 3, *SIZE, generator=random, dtype=torch.float64)
    for threshold, noise in ((0.5, torch.zeros(2, 16)), (0.3, torch.randn(2, 16, generator=random))):
        result = composed(straight_through(logit, noise, GRID, SIZE, threshold), generated, source)
        (found,) = torch.autograd.grad(result, logit, upstream)
        of_pixel = (upstream * (generated - source)).sum(1, keepdim=True)
        basis = enlarged(torch.eye(16, dtype=torch.float64), GRID, *SIZE)[:, 0]  # what one patch gives each pixel
        of_patch = torch.einsum("bchw,nhw->bn", of_pixel, basis)
        prob = logit.detach().sigmoid()
        torch.testing.assert_close(found, prob * (1 - prob) * of_patch)


def test_gradient_is_the_slope_of_the_soft_composite(random):
    """Where the loss is linear in the mask, straight-through is the gradient of the soft composite, numerically."""
    logit = torch.randn(1, 16, generator=random, dtype=torch.float64)
    generated, source, upstream = torch.rand(3, 1, 3, *SIZE, generator=random, dtype=torch.float64)

    def soft(values):
        return (composed(enlarged(values.sigmoid(), GRID, *SIZE), generated, source) * upstream).sum()

    hard = logit.clone().requires_grad_()
    zero = torch.zeros_like(logit)
    (composed(straight_through(hard, zero, GRID, SIZE, 0.5), generated, source) * upstream).sum().backward()
    step = 1e-6
    for place in range(16):
        moved = torch.zeros_like(logit)
        moved[0, place] = step
        slope = (soft(logit + moved) - soft(logit - moved)) / (2 * step)
        assert float(hard.grad[0, place]) == pytest.approx(float(slope), rel=1e-5, abs=1e-9)


def test_outside_of_the_mask_the_composed_image_is_the_source(random):
    generated, source = torch.rand(2, 1, 3, *SIZE, generator=random)
    logit = torch.full((1, 4, 4), -9.0)
    logit[:, :, :2] = 9.0
    mask = straight_through(logit.flatten(1), torch.zeros(1, 16), GRID, SIZE, 0.5)
    result = composed(mask, generated, source)
    assert torch.equal(result[..., :6], generated[..., :6])
    assert torch.equal(result[..., 10:], source[..., 10:])


def test_noise_is_logistic():
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    noise = logistic(uniform)
    torch.testing.assert_close(noise.sigmoid(), uniform, atol=1e-5, rtol=0)
    assert logistic(torch.tensor([0.0, 1.0])).isfinite().all()


def prob_with(*places):
    prob = torch.zeros(1, 16)
    for row, column in places:
        prob[0, row * 4 + column] = 0.9
    return prob


@pytest.mark.parametrize(
    ("places", "cells", "box"),
    [
        ([(0, 0)], 4, Box(0, 0, 8, 8)),
        ([(2, 1)], 4, Box(4, 0, 16, 12)),
        ([(2, 1)], 2, Box(0, 0, 16, 16)),
        ([(3, 3)], 2, Box(8, 8, 16, 16)),
        ([(0, 0), (3, 0)], 4, Box(0, 0, 16, 8)),
        ([], 4, Box(0, 0, 16, 16)),
    ],
)
def test_box_has_the_region_and_a_patch_more_in_whole_cells(places, cells, box):
    assert boxes_of(prob_with(*places), GRID, SIZE, 0.5, cells) == [box]


def test_boxes_of_an_image_that_cells_do_not_divide_stay_inside():
    (box,) = boxes_of(prob_with((3, 3)), GRID, (18, 30), 0.5, 4)
    assert box == Box(9, 15, 18, 30)
