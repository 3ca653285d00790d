import pytest
import torch

from models.vision_mamba.recurrence import linear_recurrence

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = [*range(1, 20), 63, 64, 65, 127, 128, 200]


def by_hand(decay, values):
    state, states = torch.zeros_like(values[..., 0]), []
    for t in range(values.shape[-1]):
        state = decay[..., t] * state + values[..., t]
        states.append(state)
    return torch.stack(states, -1)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("length", LENGTHS)
def test_states_and_gradients_equal_those_of_the_loop(length, shape):
    torch.manual_seed(length)
    given = [torch.rand(*shape, length).double(), torch.randn(*shape, length).double()]
    for one in given:
        one.requires_grad_()
    found, expected = linear_recurrence(*given), by_hand(*given)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    pairs = (torch.autograd.grad(one.square().sum(), given) for one in (found, expected))
    for gradient, right in zip(*pairs, strict=True):
        torch.testing.assert_close(gradient, right, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 11])
def test_gradients_pass_gradcheck(length):
    decay, values = torch.rand(2, length).double(), torch.randn(2, length).double()
    assert torch.autograd.gradcheck(linear_recurrence, [decay.requires_grad_(), values.requires_grad_()])


def test_half_decay_is_a_geometric_sum():
    length = 70
    found = linear_recurrence(torch.full((length,), 0.5).double(), torch.ones(length).double())
    torch.testing.assert_close(found, 2 - 0.5 ** torch.arange(length).double(), atol=1e-12, rtol=0)


def test_decay_of_one_is_a_running_sum_and_of_zero_no_memory():
    values = torch.randn(3, 150).double()
    torch.testing.assert_close(linear_recurrence(torch.ones(()), values), values.cumsum(-1))
    assert torch.equal(linear_recurrence(torch.zeros(()), values), values)


def test_inputs_are_left_as_they_are():
    decay, values = torch.rand(90, 4).t(), torch.randn(90, 4).t()  # time first, so that nothing is copied
    kept = decay.clone(), values.clone()
    linear_recurrence(decay, values)
    assert torch.equal(decay, kept[0])
    assert torch.equal(values, kept[1])
