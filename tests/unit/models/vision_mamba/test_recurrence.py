import pytest
import torch

from models.vision_mamba.recurrence import recur_, time_first

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = [*range(20), 63, 64, 65, 127, 128, 200]


def by_hand(decay_LR, values_LR, state_R):
    states = []
    for decay_R, value_R in zip(decay_LR, values_LR, strict=True):
        state_R = decay_R * state_R + value_R
        states.append(state_R)
    return torch.stack(states) if states else values_LR


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("width", [1, 6])
@pytest.mark.parametrize("length", LENGTHS)
def test_states_equal_those_of_the_loop(length, width, backwards):
    torch.manual_seed(length)
    decay_LR, values_LR = torch.rand(length, width).double(), torch.randn(length, width).double()
    start_R, axes = torch.randn(width).double(), (0,) if backwards else ()
    expected = by_hand(decay_LR.flip(axes), values_LR.flip(axes), start_R).flip(axes)
    kept = decay_LR.clone()
    recur_(decay_LR, values_LR, start_R, backwards=backwards)
    torch.testing.assert_close(values_LR, expected, atol=1e-12, rtol=1e-12)
    assert torch.equal(decay_LR, kept)


def test_half_decay_is_a_geometric_sum():
    values_LR = torch.ones(70, 1).double()
    recur_(torch.full((70, 1), 0.5).double(), values_LR, torch.zeros(1).double())
    torch.testing.assert_close(values_LR[:, 0], 2 - 0.5 ** torch.arange(70).double(), atol=1e-12, rtol=0)


def test_decay_of_one_is_a_running_sum_and_of_zero_no_memory():
    values_LR = torch.randn(150, 3).double()
    for decay, expected in ((1.0, values_LR.cumsum(0)), (0.0, values_LR)):
        states_LR = values_LR.clone()
        recur_(torch.full_like(values_LR, decay), states_LR, torch.zeros(3).double())
        torch.testing.assert_close(states_LR, expected)


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
def test_last_axis_comes_first_in_memory_too(shape):
    tensor = torch.arange(float(torch.tensor(shape).prod())).view(shape)
    for one in (tensor, tensor.movedim(-1, 0).contiguous().movedim(0, -1)):  # the second lies so already
        first = time_first(one)
        assert first.is_contiguous()
        assert torch.equal(first, tensor.movedim(-1, 0))
