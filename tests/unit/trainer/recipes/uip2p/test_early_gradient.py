"""Losses whose gradient is taken early, against the same losses with their graph."""

import weakref

import pytest
import torch

from trainer.recipes.uip2p.early_gradient import early_gradient

WEIGHTS = {"one": 0.5, "two": 2.0, "other": 9.0}


def losses_of(latent_BChw):
    return {"one": latent_BChw.square().mean((1, 2, 3)), "two": latent_BChw.sin().sum((1, 2, 3))}


def latent_of(parameter):
    return (parameter * 2).tanh()


@pytest.fixture
def parameter():
    return torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()


def test_values_and_gradient_are_those_with_the_graph(parameter):
    losses, carrier_B = early_gradient(latent_of(parameter), losses_of, WEIGHTS)
    direct = losses_of(latent_of(parameter))
    assert losses.keys() == direct.keys()
    for name, loss_B in losses.items():
        torch.testing.assert_close(loss_B, direct[name].detach())
        assert not loss_B.requires_grad
    assert carrier_B.tolist() == [0.0] * 3
    (early,) = torch.autograd.grad(carrier_B.sum() / 3, parameter)
    (late,) = torch.autograd.grad(sum(WEIGHTS[name] * loss_B.sum() for name, loss_B in direct.items()) / 3, parameter)
    torch.testing.assert_close(early, late)


def test_what_the_losses_computed_is_free_when_they_are_known(parameter):
    made = []

    def watched(latent_BChw):
        big = latent_BChw.repeat(1, 1, 8, 8).exp()
        made.append(weakref.ref(big.untyped_storage()))
        return {"one": big.square().mean((1, 2, 3))}

    _, carrier_B = early_gradient(latent_of(parameter), watched, WEIGHTS)
    assert made[0]() is None
    assert carrier_B.requires_grad
