"""The selective scan of Mamba in pure torch, in time linear in the length, on any device.

Owns the scan and its gradient; where tokens and their parameters come from is the caller's. The length is cut into
chunks, and states are in memory for one chunk at a time: the backward pass computes them again from the state with
which each chunk is entered. So what is kept for it are the inputs, and memory beside inputs, outputs and their
gradients hardly grows with the length.

Source  Gu and Dao 2023, Mamba, equations 2 and 4, algorithm 2, section 3.3.2 (recomputation).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from models.vision_mamba.recurrence import recur_, time_first

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

# B rows, K directions, D channels, N states, L length (time), R everything but time

CPU_NUMBERS = 2**18
"""Numbers of a chunk's states for each thread of a CPU, by measurement: few enough for its cache."""
GPU_NUMBERS = 2**24
"""Numbers of a chunk's states elsewhere, where memory is fast and kernels start slowly. Chosen, not measured."""
MIN_TOKENS = 64
"""Tokens of a chunk at least, because the state with which it is entered is kept."""


def selective_scan(
    u_BKDL: Tensor,
    delta_BKDL: Tensor,
    A_KDN: Tensor,
    B_BKNL: Tensor,
    C_BKNL: Tensor,
    D_KD: Tensor,
    bias_KD: Tensor,
) -> Tensor:
    """Outputs (B, K, D, L) of the state space model S6 for the inputs u, in the type of u.

    With delta = softplus(delta + bias): h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t, y_t = <C_t, h_t> + D u_t.
    A is negative. Computed in float32, or in float64 for such a u. Fastest where time is the first axis in memory.
    """
    kind = torch.promote_types(u_BKDL.dtype, torch.float32)
    u_LBKD, delta_LBKD, B_LBKN, C_LBKN = (time_first(one.to(kind)) for one in (u_BKDL, delta_BKDL, B_BKNL, C_BKNL))
    y_LBKD: Tensor = _SelectiveScan.apply(
        u_LBKD, delta_LBKD, A_KDN.to(kind).mT.contiguous(), B_LBKN[..., None], C_LBKN[..., None], D_KD.to(kind),
        bias_KD.to(kind),
    )  # fmt: skip
    return y_LBKD.movedim(0, -1).to(u_BKDL.dtype)


def sequential_scan(
    u_BKDL: Tensor,
    delta_BKDL: Tensor,
    A_KDN: Tensor,
    B_BKNL: Tensor,
    C_BKNL: Tensor,
    D_KD: Tensor,
    bias_KD: Tensor,
) -> Tensor:
    """The same as `selective_scan` by the plain loop over time, in the type of the inputs: slow, and a reference."""
    delta_BKDL = functional.softplus(delta_BKDL + bias_KD.unsqueeze(-1))
    decay_BKDNL = torch.exp(delta_BKDL.unsqueeze(-2) * A_KDN.unsqueeze(-1))
    values_BKDNL = (delta_BKDL * u_BKDL).unsqueeze(-2) * B_BKNL.unsqueeze(-3)
    steps = (one.movedim(-1, 0).contiguous().unbind(0) for one in (decay_BKDNL, values_BKDNL, C_BKNL.unsqueeze(-3)))
    state_BKDN, reads = torch.zeros_like(decay_BKDNL[..., 0]), []
    for decay_BKDN, values_BKDN, C_BK1N in zip(*steps, strict=True):
        state_BKDN = decay_BKDN * state_BKDN + values_BKDN
        reads.append((C_BK1N * state_BKDN).sum(-1))
    return torch.stack(reads, -1) + D_KD.unsqueeze(-1) * u_BKDL


class _Tokens(NamedTuple):
    """The inputs of a scan with time as the first axis, or their gradients: of all tokens, or those of a chunk."""

    u_LBKD: Tensor
    delta_LBKD: Tensor
    A_KND: Tensor
    B_LBKN1: Tensor
    C_LBKN1: Tensor
    D_KD: Tensor
    bias_KD: Tensor

    def chunks(self) -> Iterator[slice]:
        """Places of chunks."""
        length, numbers = len(self.u_LBKD), self.u_LBKD.numel() * self.A_KND.shape[1]
        is_cpu = self.u_LBKD.device.type == "cpu"
        num_chunks = max(1, numbers // (CPU_NUMBERS * torch.get_num_threads() if is_cpu else GPU_NUMBERS))
        tokens = max(MIN_TOKENS, math.ceil(length / num_chunks))
        return (slice(start, start + tokens) for start in range(0, length, tokens))

    def at(self, place: slice) -> _Tokens:
        """Views of the tokens of a chunk; what is of no token stays whole."""
        return self._replace(
            u_LBKD=self.u_LBKD[place], delta_LBKD=self.delta_LBKD[place], B_LBKN1=self.B_LBKN1[place],
            C_LBKN1=self.C_LBKN1[place],
        )  # fmt: skip

    def states(self, start_R: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(step sizes (L, B, K, 1, D), decays (L, B, K, N, D), states (L, B, K, N, D)) from the state before."""
        step_LBK1D = functional.softplus(self.delta_LBKD + self.bias_KD).unsqueeze(-2)
        decay_LBKND = (step_LBK1D * self.A_KND).exp_()
        states_LBKND = (step_LBK1D * self.u_LBKD.unsqueeze(-2)) * self.B_LBKN1
        recur_(_rows(decay_LBKND), _rows(states_LBKND), start_R)
        return step_LBK1D, decay_LBKND, states_LBKND


class _SelectiveScan(torch.autograd.Function):
    """`selective_scan` of the fields of `_Tokens`, which are contiguous."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        tokens = _Tokens(*given)
        state_R = tokens.u_LBKD.new_zeros(tokens.u_LBKD.shape[1] * tokens.A_KND.numel())
        y_LBKD, starts = torch.empty_like(tokens.u_LBKD), []
        ctx.places = list(tokens.chunks())
        for place in ctx.places:
            one = tokens.at(place)
            starts.append(state_R)
            _, _, states_LBKND = one.states(state_R)
            state_R = states_LBKND[-1].flatten().clone()
            read_LBKD = _sum_states(states_LBKND.mul_(one.C_LBKN1))
            torch.addcmul(read_LBKD, one.D_KD, one.u_LBKD, out=y_LBKD[place])
        ctx.save_for_backward(*given, *starts)
        return y_LBKD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, y_grad_LBKD: Tensor) -> tuple[Tensor, ...]:
        saved, size = ctx.saved_tensors, len(_Tokens._fields)
        tokens, starts = _Tokens(*saved[:size]), saved[size:]
        y_grad_LBKD = time_first(y_grad_LBKD.movedim(0, -1))
        grads = _Tokens(*map(torch.empty_like, tokens))
        for summed in (grads.A_KND, grads.D_KD, grads.bias_KD):
            summed.zero_()
        later_R = torch.zeros_like(starts[0])
        for place, start_R in reversed(list(zip(ctx.places, starts, strict=True))):
            later_R = _backward(tokens.at(place), start_R, y_grad_LBKD[place], later_R, grads.at(place))
        return tuple(grads)


def _backward(tokens: _Tokens, start_R: Tensor, y_grad_LBKD: Tensor, later_R: Tensor, grads: _Tokens) -> Tensor:
    """Write the gradients of a chunk, and return that of the state before it.

    `later_R` is the gradient of the chunk's last state from what comes after. What is of no token is added to.
    """
    step_LBK1D, decay_LBKND, states_LBKND = tokens.states(start_R)
    u_LBK1D, y_grad_LBK1D = tokens.u_LBKD.unsqueeze(-2), y_grad_LBKD.unsqueeze(-2)
    torch.sum(y_grad_LBK1D * states_LBKND, -1, keepdim=True, out=grads.C_LBKN1)
    grads.D_KD.add_((y_grad_LBKD * tokens.u_LBKD).sum((0, 1)))

    grad_LBKND = y_grad_LBK1D * tokens.C_LBKN1
    grad_LR = _rows(grad_LBKND)
    grad_LR[-1] += later_R
    recur_(_rows(decay_LBKND)[1:], grad_LR[:-1], grad_LR[-1], backwards=True)
    before_R = decay_LBKND[0].flatten() * grad_LR[0]

    exponent_grad_LBKND = decay_LBKND.mul_(grad_LBKND)
    exponent_grad_LBKND[1:].mul_(states_LBKND[:-1])
    exponent_grad_LBKND[0].mul_(start_R.view(decay_LBKND[0].shape))
    grads.A_KND.add_((exponent_grad_LBKND * step_LBK1D).sum((0, 1)))

    torch.sum(grad_LBKND * (step_LBK1D * u_LBK1D), -1, keepdim=True, out=grads.B_LBKN1)
    written_LBKD = _sum_states(grad_LBKND.mul_(tokens.B_LBKN1))
    step_grad_LBKD = _sum_states(exponent_grad_LBKND.mul_(tokens.A_KND)).addcmul_(written_LBKD, tokens.u_LBKD)
    slope_LBKD = torch.sigmoid(tokens.delta_LBKD + tokens.bias_KD)
    torch.mul(step_grad_LBKD, slope_LBKD, out=grads.delta_LBKD)
    grads.bias_KD.add_(grads.delta_LBKD.sum((0, 1)))
    torch.addcmul(written_LBKD.mul_(step_LBK1D.squeeze(-2)), tokens.D_KD, y_grad_LBKD, out=grads.u_LBKD)
    return before_R


def _sum_states(values_LBKND: Tensor) -> Tensor:
    """The sum over states, a view where there is one."""
    return values_LBKND.squeeze(-2) if values_LBKND.shape[-2] == 1 else values_LBKND.sum(-2)


def _rows(values_LBKND: Tensor) -> Tensor:
    """A view (L, R)."""
    return values_LBKND.view(len(values_LBKND), -1)
