"""The losses against a re-computation in numpy, and their edges."""

import numpy as np
import pytest
import torch

from trainer.recipes.regions import losses


@pytest.fixture
def random():
    return torch.Generator().manual_seed(0)


def unit(value):
    return torch.nn.functional.normalize(value, dim=-1)


def cos(one, other):
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_semantic_loss_is_one_less_the_cosine(random):
    found, texts = torch.randn(2, 3, 8, generator=random)
    expected = [1 - cos(one.numpy(), text.numpy()) for one, text in zip(found, texts, strict=True)]
    torch.testing.assert_close(losses.semantic_loss(found, texts), torch.tensor(expected))


def test_global_and_direction_loss_are_cosines(random):
    image, source, after, before = unit(torch.randn(4, 3, 8, generator=random))
    expected = [1 - cos(one.numpy(), other.numpy()) for one, other in zip(image, after, strict=True)]
    torch.testing.assert_close(losses.global_loss(image, after), torch.tensor(expected))
    shifts = zip((image - source).numpy(), (after - before).numpy(), strict=True)
    expected = torch.tensor([1 - cos(one, other) for one, other in shifts])
    torch.testing.assert_close(losses.direction_loss(image, source, after, before), expected)


def test_unchanged_image_has_a_finite_gradient_towards_the_texts(random):
    source, after, before = unit(torch.randn(3, 2, 8, generator=random))
    image = source.clone().requires_grad_()
    loss = losses.direction_loss(image, source, after, before)
    loss.sum().backward()
    torch.testing.assert_close(loss.detach(), torch.ones(2))
    torch.testing.assert_close(image.grad, -unit(after - before) / losses.MIN_SHIFT)


def test_structure_loss_compares_cosines_of_all_patches(random):
    patch, source = torch.randn(2, 2, 5, 8, generator=random)
    found = losses.structure_loss(patch, source)
    for row in range(2):
        pairs = [(i, j) for i in range(5) for j in range(5)]
        own, of_source = ([cos(one[row, i].numpy(), one[row, j].numpy()) for i, j in pairs] for one in (patch, source))
        squares = np.square(np.subtract(own, of_source))
        assert float(found[row]) == pytest.approx(squares.mean(), rel=1e-4)
    assert float(losses.structure_loss(source, source * 3).sum()) == pytest.approx(0, abs=1e-10)
