import numpy as np
import pytest
import torch

from trainer.draws import Draws

NAMES = {
    "normal": lambda draws, name: draws.normal(name, (4, 2)),
    "uniform": lambda draws, name: draws.uniform(name, (4, 2)),
    "integers": lambda draws, name: draws.integers(name, 1000, (8,)),
    "choice": lambda draws, name: draws.choice(name, [1.0] * 1000),
}


def drawn(seed, *numbers):
    return Draws(seed, torch.tensor(numbers))


@pytest.mark.parametrize("kind", NAMES)
def test_a_draw_depends_on_seed_number_and_name_alone(kind):
    draw = NAMES[kind]
    together, alone = drawn(1, 5, 6, 7), drawn(1, 6)
    draw(together, "another")
    assert torch.equal(draw(together, "a")[1:2], draw(alone, "a"))
    assert torch.equal(draw(alone, "a"), draw(alone, "a"))
    for other in (draw(alone, "b"), draw(drawn(2, 6), "a"), draw(drawn(1, 7), "a")):
        assert not torch.equal(draw(alone, "a"), other)


def test_numbers_are_of_their_distribution():
    draws = drawn(0, *range(4000))
    noise = draws.normal("noise", (4,))
    assert abs(float(noise.mean())) < 0.03
    assert abs(float(noise.std()) - 1) < 0.03
    uniform = draws.uniform("share")
    assert 0 <= float(uniform.min()) < 0.01
    assert 0.99 < float(uniform.max()) < 1
    assert (abs(np.bincount(draws.integers("timestep", 10)) - 400) < 90).all()
    assert (
        abs(np.bincount(draws.choice("drop", [1, 3, 0, 4]), minlength=4) / 4000 - [0.125, 0.375, 0, 0.5]) < 0.03
    ).all()


def test_shapes_begin_with_the_batch_and_whole_numbers_are_int64():
    draws = drawn(0, 1, 2, 3)
    assert draws.normal("a", (4, 2)).shape == (3, 4, 2)
    assert draws.uniform("a").shape == draws.choice("a", [1, 1]).shape == (3,)
    assert draws.integers("a", 5).dtype == draws.choice("a", [1, 1]).dtype == torch.int64


def test_numbers_are_placed_on_the_device():
    assert Draws(0, torch.tensor([1]), torch.device("meta")).normal("a").device.type == "meta"


@pytest.mark.parametrize("kind", NAMES)
def test_some_samples_of_a_batch_draw_what_they_draw_in_it(kind):
    whole = drawn(1, 5, 6, 7)
    assert torch.equal(NAMES[kind](whole.select([2, 0]), "a"), NAMES[kind](whole, "a")[[2, 0]])


def test_some_samples_of_a_batch_draw_on_its_device():
    whole = Draws(0, torch.tensor([1, 2]), torch.device("meta"))
    assert whole.select([1]).normal("a").device.type == "meta"
