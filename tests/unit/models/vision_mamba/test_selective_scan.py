import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.uip2p_memory.live_bytes import LiveBytes
from models.vision_mamba import selective_scan as module
from models.vision_mamba.selective_scan import selective_scan, sequential_scan

pytestmark = pytest.mark.usefixtures("one_thread")

CHUNK = 21
"""Tokens of a chunk within these tests."""
LENGTHS = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 2, 2 * CHUNK, 3 * CHUNK + 5, 9 * CHUNK + 1]


@pytest.fixture(autouse=True)
def short_chunks(monkeypatch):
    monkeypatch.setattr(module, "CPU_NUMBERS", 1)
    monkeypatch.setattr(module, "MIN_TOKENS", CHUNK)


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


def test_decays_that_underflow_leave_values_and_gradients_finite():
    given = arguments(length=2 * CHUNK + 3, kind=torch.float32)
    with torch.no_grad():
        given[1][..., ::2] += 1000
        given[2] *= 1000
    assert all(one.isfinite().all() for one in values_and_gradients(selective_scan, given))


@pytest.mark.parametrize("length", [1, 2, 7, 9])
def test_gradients_pass_gradcheck(length, monkeypatch):
    monkeypatch.setattr(module, "MIN_TOKENS", 4)
    assert torch.autograd.gradcheck(selective_scan, arguments(1, 2, 2, 2, length))


def test_memory_with_time_first_gives_the_same():
    given = arguments(length=2 * CHUNK + 5)
    first = [one.detach().movedim(-1, 0).contiguous().movedim(0, -1).requires_grad_() for one in given]
    pairs = zip(*(values_and_gradients(selective_scan, one) for one in (given, first)), strict=True)
    for found, expected in pairs:
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_scanned_in_float32(kind):
    half = [one.detach() for one in arguments(length=2 * CHUNK + 3, kind=kind)]
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


def counted(function, length, channels=8):
    given = arguments(1, 4, channels, 1, length, torch.float32)
    with Count() as count:
        function(*given).sum().backward()
    return count


def test_work_is_linear_in_the_length():
    short, long = counted(selective_scan, 1024), counted(selective_scan, 16_384)
    assert long.elements / short.elements == pytest.approx(16, rel=0.02)
    assert long.calls < 16 * short.calls


def test_scan_calls_far_fewer_kernels_than_the_sequential_one(monkeypatch):
    monkeypatch.undo()  # chunks of the usual length
    assert 20 * counted(selective_scan, 4096, 96).calls < counted(sequential_scan, 4096).calls


def test_memory_kept_for_the_backward_pass_is_the_inputs():
    given = arguments(1, 4, 8, 2, 40 * CHUNK, torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda saved: saved):
        selective_scan(*given)
    assert sum(one.numel() for one in kept) < 1.05 * sum(one.numel() for one in given)


def test_memory_beside_the_output_hardly_grows_with_the_length():
    beside = []
    for length in (40 * CHUNK, 80 * CHUNK):
        given = arguments(1, 4, 8, 1, length, torch.float32)
        first = [one.detach().movedim(-1, 0).contiguous().movedim(0, -1) for one in given]
        with LiveBytes() as live:
            out = selective_scan(*first)
        beside.append(live.peak - out.nbytes)
    assert beside[1] < 1.5 * beside[0] < 0.5 * out.nbytes


def test_second_derivatives_are_refused():
    given = arguments(1, 1, 2, 1, 5)
    (gradient, *_) = torch.autograd.grad(selective_scan(*given).square().sum(), given, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()
