import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.vision_mamba import selective_scan as module
from models.vision_mamba.selective_scan import CHUNK, linear_recurrence, selective_scan, sequential_scan

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTHS = [1, 2, 3, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 2, 2 * CHUNK, 3 * CHUNK + 5, 6 * CHUNK + 1]


def arguments(rows=2, directions=3, channels=4, states=2, length=50, kind=torch.float64):
    torch.manual_seed(length)
    made = [
        torch.randn(rows, directions, channels, length),
        torch.randn(rows, directions, channels, length) - 1,
        -3 * torch.rand(directions, channels, states) - 0.1,
        torch.randn(rows, directions, states, length),
        torch.randn(rows, directions, states, length),
        torch.randn(directions, channels),
        torch.randn(directions, channels),
    ]
    return [one.to(kind).requires_grad_() for one in made]


def values_and_gradients(function, given):
    out = function(*given)
    return [out, *torch.autograd.grad((out.double() ** 2).sum(), given)]


def by_hand(decay, values):
    state, states = torch.zeros_like(values[..., 0]), []
    for t in range(values.shape[-1]):
        state = decay[..., t] * state + values[..., t]
        states.append(state)
    return torch.stack(states, -1)


@pytest.mark.parametrize("length", LENGTHS)
def test_recurrence_and_its_gradients_equal_those_of_the_loop(length):
    torch.manual_seed(length)
    given = [torch.rand(2, 3, length).double().requires_grad_(), torch.randn(2, 3, length).double().requires_grad_()]
    for found, expected in zip(
        *(values_and_gradients(one, given) for one in (linear_recurrence, by_hand)), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("length", LENGTHS)
def test_scan_and_all_gradients_equal_those_of_the_sequential_scan(length):
    given = arguments(length=length)
    pairs = zip(*(values_and_gradients(one, given) for one in (selective_scan, sequential_scan)), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (3, 1, 2, 1), (1, 4, 3, 5)])
def test_scan_equals_the_sequential_scan_for_other_sizes(sizes):
    given = arguments(*sizes, length=2 * CHUNK + 7)
    pairs = zip(*(values_and_gradients(one, given) for one in (selective_scan, sequential_scan)), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def test_sequential_scan_is_the_formula_of_the_paper():
    u, delta, A, B, C, D, bias = (one.detach() for one in arguments(1, 1, 1, 2, 4))
    state, found = [0.0, 0.0], sequential_scan(u, delta, A, B, C, D, bias)
    for t in range(4):
        step = math.log1p(math.exp(float(delta[0, 0, 0, t] + bias[0, 0])))
        for n in range(2):
            state[n] = math.exp(step * A[0, 0, n]) * state[n] + step * float(B[0, 0, n, t] * u[0, 0, 0, t])
        expected = sum(float(C[0, 0, n, t]) * state[n] for n in range(2)) + float(D[0, 0] * u[0, 0, 0, t])
        assert float(found[0, 0, 0, t]) == pytest.approx(expected, abs=1e-12)


def test_recurrence_with_half_decay_is_a_geometric_sum():
    length = 2 * CHUNK + 3
    found = linear_recurrence(torch.full((length,), 0.5).double(), torch.ones(length).double())
    torch.testing.assert_close(found, 2 - 0.5 ** torch.arange(length).double(), atol=1e-12, rtol=0)


def test_decay_of_one_is_a_running_sum_and_of_zero_no_memory():
    values = torch.randn(3, 5 * CHUNK).double()
    torch.testing.assert_close(linear_recurrence(torch.ones(()), values), values.cumsum(-1))
    assert torch.equal(linear_recurrence(torch.zeros(()), values), values)


def test_decays_that_underflow_leave_values_and_gradients_finite():
    given = arguments(length=3 * CHUNK, kind=torch.float32)
    with torch.no_grad():
        given[1][..., ::2] += 1000
        given[2] *= 1000
    assert all(one.isfinite().all() for one in values_and_gradients(selective_scan, given))


@pytest.mark.parametrize("length", [1, 2, 7, 9])
def test_gradients_pass_gradcheck(length, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    assert torch.autograd.gradcheck(selective_scan, arguments(1, 2, 2, 2, length))
    decay, values = torch.rand(2, length).double(), torch.randn(2, length).double()
    assert torch.autograd.gradcheck(linear_recurrence, [decay.requires_grad_(), values.requires_grad_()])


def test_memory_with_time_first_gives_the_same():
    given = arguments(length=2 * CHUNK + 5)
    first = [one.detach().movedim(-1, 0).contiguous().movedim(0, -1).requires_grad_() for one in given]
    pairs = zip(*(values_and_gradients(selective_scan, one) for one in (given, first)), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_scanned_in_float32(kind):
    half = [one.detach() for one in arguments(length=3 * CHUNK, kind=kind)]
    found, exact = selective_scan(*half), selective_scan(*(one.float() for one in half))
    assert found.dtype == kind
    assert torch.equal(found, exact.to(kind))


def test_autocast_does_not_change_the_scan():
    given = arguments(length=CHUNK + 4, kind=torch.float32)
    plain = values_and_gradients(selective_scan, given)
    with torch.autocast("cpu", torch.bfloat16):
        cast = values_and_gradients(selective_scan, given)
    assert all(torch.equal(one, other) for one, other in zip(plain, cast, strict=True))


class Count(TorchDispatchMode):
    """Counts calls of kernels and the elements that they give."""

    def __init__(self):
        super().__init__()
        self.calls = self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.calls += not function.is_view
        self.elements += 0 if function.is_view else sum(one.numel() for one in tree_leaves(out) if torch.is_tensor(one))
        return out


def counted(function, length):
    given = arguments(1, 4, 8, 1, length, torch.float32)
    with Count() as count:
        function(*given).sum().backward()
    return count


def test_work_is_linear_in_the_length():
    short, long = counted(selective_scan, 1024), counted(selective_scan, 16_384)
    assert long.elements / short.elements == pytest.approx(16, rel=0.02)
    assert long.calls < 16 * short.calls


def test_scan_calls_far_fewer_kernels_than_the_sequential_one():
    assert 20 * counted(selective_scan, 4096).calls < counted(sequential_scan, 4096).calls
