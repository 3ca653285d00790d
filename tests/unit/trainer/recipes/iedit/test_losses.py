"""Each loss against its equation written out in numpy, with fakes of CLIP and VGG."""

import numpy as np
import pytest
import torch

from trainer.recipes.iedit import losses


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def share(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


class Clip:
    """Distance: the image's mean, plus the length of its text."""

    def distance(self, image_BCHW, texts):
        return image_BCHW.mean((1, 2, 3)) + torch.tensor([float(len(text)) for text in texts])


class Network:
    """Two maps: the image doubled, and the squares of its first channel."""

    def features(self, image_BCHW):
        return [2 * image_BCHW, image_BCHW[:, :1].square()]


SOURCE, TARGET, PREDICTED = (rows(3, 4, 5, 5, seed=seed) for seed in range(3))
M1, M2 = share(3, 1, 5, 5, seed=3), share(3, 1, 5, 5, seed=4)
EDITED, WANTED = share(3, 3, 6, 6, seed=5), share(3, 3, 6, 6, seed=6)
MASK1, MASK2 = (share(3, 1, 6, 6, seed=seed).round() for seed in (7, 8))


def mean_square(array):
    return np.array([np.mean(np.square(row)) for row in array])


def test_paired_loss_is_equation_4():
    expected = mean_square(TARGET.numpy() - PREDICTED.numpy())
    np.testing.assert_allclose(losses.paired_loss(TARGET, PREDICTED), expected, rtol=1e-5)


def test_ldm_loss_is_equation_1_of_the_sources_noise():
    expected = mean_square(SOURCE.numpy() - PREDICTED.numpy())
    np.testing.assert_allclose(losses.ldm_loss(SOURCE, PREDICTED), expected, rtol=1e-5)


def test_mask_loss_is_equations_8_and_9():
    e1, e2, e, m1, m2 = (one.numpy() for one in (SOURCE, TARGET, PREDICTED, M1, M2))
    expected = mean_square(e2 * m2 - e * m2) + mean_square(e1 * (1 - m1) - e * (1 - m1))
    np.testing.assert_allclose(losses.mask_loss(SOURCE, TARGET, PREDICTED, M1, M2), expected, rtol=1e-5)


def test_mask_loss_asks_for_the_target_inside_and_the_source_outside():
    mask = torch.zeros(3, 1, 5, 5)
    mask[..., :2] = 1
    perfect = torch.where(mask.bool(), TARGET, SOURCE)
    assert losses.mask_loss(SOURCE, TARGET, perfect, mask, mask).abs().max() == 0
    everything = torch.ones_like(mask)
    found = losses.mask_loss(SOURCE, TARGET, PREDICTED, everything, everything)
    torch.testing.assert_close(found, losses.paired_loss(TARGET, PREDICTED))


def test_global_loss_is_equation_5():
    expected = EDITED.numpy().mean((1, 2, 3)) + np.array([1, 2, 3])
    np.testing.assert_allclose(losses.global_loss(Clip(), EDITED, ["a", "bb", "ccc"]), expected, rtol=1e-6)


def test_local_loss_is_equation_11_over_samples_that_have_a_phrase():
    expected = (EDITED * MASK1).numpy().mean((1, 2, 3)) + np.array([1, 0, 3])
    expected[1] = 0
    np.testing.assert_allclose(losses.local_loss(Clip(), EDITED, MASK1, ["a", "", "ccc"]), expected, rtol=1e-6)
    assert losses.local_loss(Clip(), EDITED, MASK1, ["", "", ""]).tolist() == [0, 0, 0]


def test_perceptual_loss_is_equation_10():
    x1, x2 = (EDITED * MASK1).numpy(), (WANTED * MASK2).numpy()
    deep = mean_square(x1[:, :1] ** 2 - x2[:, :1] ** 2)
    expected = (mean_square(2 * x1 - 2 * x2) + deep) / 2
    np.testing.assert_allclose(losses.perceptual_loss(Network(), EDITED, WANTED, MASK1, MASK2), expected, rtol=1e-5)


def test_perceptual_loss_has_no_gradient_to_the_target():
    edited, wanted = EDITED.clone().requires_grad_(), WANTED.clone().requires_grad_()
    losses.perceptual_loss(Network(), edited, wanted, MASK1, MASK2).sum().backward()
    assert edited.grad.abs().sum() > 0
    assert wanted.grad is None


def test_weighted_sum_is_equation_12():
    time, latent, overall, local, perceptual = (share(3, seed=seed) for seed in range(5))
    found = losses.weighted_sum(
        time, latent_B=latent, global_B=overall, local_B=local, perceptual_B=perceptual, lambda_perc=0.1
    )
    t, z, g, n, p = (one.numpy() for one in (time, latent, overall, local, perceptual))
    np.testing.assert_allclose(found, (1 - t) * (n + g) + t * z + 0.1 * p, rtol=1e-6)


@pytest.mark.parametrize(
    ("kept", "expected"),
    [("latent_B", 0.25 * 8), ("global_B", 0.75 * 8), ("local_B", 0.75 * 8), ("perceptual_B", 0.5 * 8)],
)
def test_a_loss_that_is_off_counts_for_nothing(kept, expected):
    found = losses.weighted_sum(torch.tensor([0.25]), lambda_perc=0.5, **{kept: torch.tensor([8.0])})
    assert found.tolist() == [expected]
