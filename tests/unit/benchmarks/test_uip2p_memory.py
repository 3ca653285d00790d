"""The benchmark of UIP2P's memory: bytes are counted exactly, with values and without, and estimates follow."""

from contextlib import nullcontext

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.profiler import ProfilerActivity, profile

from benchmarks.pairs.checkpoints import LAYOUTS
from benchmarks.uip2p_memory import run
from benchmarks.uip2p_memory.case import Case, Found, WithValues
from benchmarks.uip2p_memory.live_bytes import REST, LiveBytes, nbytes
from benchmarks.uip2p_memory.without_values import drop_values, types_of_cuda
from trainer.diffusion.attention import AttentionRecorder, cross_attentions

KB = torch.zeros(256)


def test_bytes_count_as_long_as_something_refers_to_them():
    with LiveBytes() as live:
        one = KB + 1
        other = one * 2
        view = other[:10]
        del one, other
        assert (live.live, live.peak) == (1024, 2048)
        del view
        assert live.live == 0
        KB.add_(0)
        KB.view(2, 128).t()
    assert (live.live, live.peak) == (0, 2048)


def test_what_autograd_keeps_counts():
    weight = KB.clone().requires_grad_()
    with LiveBytes() as live:
        loss = (weight.exp().exp() * weight).sum()
        assert live.live == 2 * 1024 + 4
        loss.backward()
        assert live.live == 1024 + 4
    assert weight.grad.nbytes == 1024


def test_bytes_of_the_peak_have_the_network_that_made_them():
    networks = {"first": torch.nn.Linear(8, 256), "second": torch.nn.Linear(256, 512)}
    live = LiveBytes(networks)
    with live.by_network(), live:
        hidden = networks["first"](torch.zeros(1, 8))
        out = networks["second"](hidden.exp())
    assert live.parts == {"first": 1024, "second": 2048, REST: 32 + 1024}
    assert out.shape == (1, 512)
    assert not networks["first"]._forward_hooks


def test_the_peak_is_that_of_the_profiler():
    net = torch.nn.Sequential(*(torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.Tanh()) for _ in range(4)))
    rows = torch.rand(500, 300)
    with LiveBytes() as live:
        net(rows).square().mean().backward()
    net.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        net(rows).square().mean().backward()
    changes = [event.nbytes() for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    total = peak = 0
    for change in changes:
        total += change
        peak = max(peak, total)
    assert live.peak == pytest.approx(peak, rel=0.01)


def unet_bytes(device, context, fake):
    """Live bytes after a forward pass in bfloat16 of a small UNet without values, attention maps included."""
    unet = UNet2DConditionModel(**{**LAYOUTS["sd15-tiny"].unet, "in_channels": 8})
    recorder = AttentionRecorder(unet, cross_attentions(unet, 16, 1024))
    with fake:
        inputs = [
            torch.empty(2, 8, 16, 16, device=device), torch.zeros(2, dtype=torch.long, device=device),
            torch.empty(2, 77, 64, device=device),
        ]  # fmt: skip
        for module in unet.modules():
            for name, weight in module._parameters.items():
                if weight is not None:
                    module._parameters[name] = torch.nn.Parameter(torch.empty(weight.shape, device=device))
    before = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    torch.set_autocast_enabled(device, True)  # torch.autocast is refused without a GPU
    torch.set_autocast_dtype(device, torch.bfloat16)
    try:
        with context, fake, recorder.recording() as maps, LiveBytes() as live:
            out = unet(*inputs).sample
    finally:
        torch.set_autocast_enabled(device, before[0])
        torch.set_autocast_dtype(device, before[1])
        torch.clear_autocast_cache()
    assert (out.device.type, len(maps)) == (device, 16)
    return live.live


def flash(query, key, value, *_, **__):
    """Attention as a GPU has it: without one, torch would choose a kernel that keeps all scores."""
    halves = (one.bfloat16() for one in (query, key, value))
    return torch.ops.aten._scaled_dot_product_flash_attention(*halves)[0]


def test_the_cpu_keeps_what_cuda_keeps_under_autocast(monkeypatch):
    from torch._subclasses.fake_tensor import FakeTensorMode

    on_cpu = unet_bytes("cpu", types_of_cuda(), FakeTensorMode())
    plain = unet_bytes("cpu", nullcontext(), FakeTensorMode())
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", flash)
    on_cuda = unet_bytes("cuda", nullcontext(), FakeTensorMode())
    assert on_cpu == pytest.approx(on_cuda, rel=1e-3)
    assert plain < 0.95 * on_cuda


def test_values_are_dropped_in_place():
    net = torch.nn.BatchNorm1d(4).requires_grad_(requires_grad=False)
    size = nbytes(net)
    taken = drop_values(net)
    assert nbytes(net) == size
    assert not net.weight.requires_grad
    assert type(net(taken(torch.zeros(3, 4)))) is type(net.running_mean) is not torch.Tensor


def found_in(precision, peaks, **more):
    case = Case(checkpoints="", size_px=256, precision=precision, checkpointing=False, extras=False, rows=tuple(peaks))
    sizes = {"weights_bytes": 3e9, "frozen_bytes": 2e9, "moments_bytes": 6e9, "update_bytes": 9e9, "parts_bytes": {}}
    return Found(**{"case": case, "peak_bytes": peaks, "with_values": (), **sizes, **more})


def test_an_estimate_lies_on_the_line_between_measured_batches():
    found = found_in("bf16", {1: 4e9, 2: 8e9, 16: 36e9, 128: 260e9})
    assert run.estimate(found, 1) == pytest.approx(1.1 * (11e9 + 6e9))  # the update takes more than the step
    assert run.estimate(found, 9) == pytest.approx(1.1 * (11e9 + 22e9))
    assert run.a_row(found) == 2e9
    assert run.largest(found, 80e9) == 28
    assert run.largest(found, 18e9) == 0
    with pytest.raises(ValueError, match="129 rows"):
        run.estimate(found, 129)


def test_a_batch_that_does_not_fit_is_a_miss_under_bfloat16():
    peaks = {1: 4e9, 16: 64e9, 128: 512e9}
    assert run.missed([found_in("no", peaks)]) == []
    assert run.missed([found_in("bf16", peaks)]) == [
        "the paper's losses, bfloat16, checkpointing off: 16 rows take 82.5 GB, the bar is 80"
    ]


def test_other_bytes_with_values_are_a_miss():
    found = found_in("no", {1: 4 * 10**9, 16: 64 * 10**9}, with_values=(WithValues(1, 5, None), WithValues(2, 5, None)))
    assert run.missed([found]) == [
        "the paper's losses, float32, checkpointing off: 1 row with values: 5 bytes, without 4,000,000,000"
    ]
