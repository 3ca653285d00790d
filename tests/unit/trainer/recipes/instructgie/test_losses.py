"""The losses of InstructGIE against closed forms."""

import pytest
import torch

from trainer.recipes.instructgie.losses import clean_weight, selective_loss, shift_loss


def unit(*values):
    one = torch.tensor([values], dtype=torch.float64)
    return one / one.norm(dim=-1, keepdim=True)


def test_shift_loss_is_zero_for_the_true_shift_and_two_for_its_opposite():
    source, target, opposite = unit(1, 0, 0), unit(1, 1, 0), unit(1, -1, 0)
    assert float(shift_loss(target, target, source)) == pytest.approx(0)
    # both have the same part along the source, (cos 45 - 1), and opposite parts across it
    along, across = 0.5**0.5 - 1, 0.5**0.5
    expected = 1 - (along**2 - across**2) / (along**2 + across**2)
    assert float(shift_loss(opposite, target, source)) == pytest.approx(expected)


def test_shift_loss_of_an_edit_that_changes_nothing_is_one():
    source, target = unit(1, 0, 0), unit(1, 1, 0)
    assert float(shift_loss(source, target, source)) == pytest.approx(1)


def test_selective_loss_is_the_mean_error_inside_the_mask():
    clean, wanted = torch.zeros(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    wanted[0, :, 0, 0], wanted[0, :, 1, 1] = 2.0, 100.0
    area = torch.zeros(2, 1, 2, 2)
    area[0, 0, 0, 0], area[0, 0, 0, 1] = 1.0, 0.5
    # (1 x 4 + 0.5 x 0) / 1.5; the second sample has no area
    assert selective_loss(clean, wanted, area).tolist() == pytest.approx([4 / 1.5, 0.0])


def test_errors_outside_the_mask_have_no_gradient():
    clean = torch.zeros(1, 3, 2, 2, requires_grad=True)
    area = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    selective_loss(clean, torch.ones(1, 3, 2, 2), area).sum().backward()
    assert (clean.grad != 0).flatten().tolist() == [True, False, False, False] * 3


def test_empty_mask_has_a_finite_gradient():
    clean = torch.randn(1, 3, 2, 2, requires_grad=True)
    selective_loss(clean, torch.zeros(1, 3, 2, 2), torch.zeros(1, 1, 2, 2)).sum().backward()
    assert bool((clean.grad == 0).all())


def test_weight_falls_from_one_to_nearly_zero():
    assert clean_weight(torch.tensor([0, 250, 999]), 1000).tolist() == pytest.approx([1.0, 0.75, 0.001], abs=1e-6)
