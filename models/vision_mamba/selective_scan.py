"""The selective scan of Mamba in pure torch, in time linear in the length, on any device.

Owns the recurrence and its gradient; where tokens and their parameters come from is the caller's.

The recurrence runs in two levels. The length is cut into chunks. One pass steps through all chunks at once, each from a
state of zero, and keeps the last states and the products of decays; these give the states with which the chunks are
entered, one chunk after the other; a second pass steps through all chunks at once again, each from the right state.
Nothing is divided and there is no exponential of a positive number, so decays near 0 are exact. Time is the first axis
in memory, so that every step works on rows that lie together.

Source  Gu and Dao 2023, Mamba, equations 2 and 4, algorithm 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

# B rows, K directions, D channels, N states, L length (time), R everything but time, M time but one end,
# G chunks, T time in a chunk

CHUNK = 32
"""Tokens of a chunk. Chosen by measurement: 32 and 128 are no faster from 1,024 to 16,384 tokens."""


def linear_recurrence(decay: Tensor, values: Tensor) -> Tensor:
    """All h_t = decay_t h_(t-1) + values_t along the last axis, with h_(-1) = 0, differentiable in both.

    Shapes are broadcast to each other; the last axis has at least one entry. Computed in the type of the inputs.
    """
    decay, values = torch.broadcast_tensors(decay, values)
    decay_LR, values_LR = (_time_first(one).reshape(values.shape[-1], -1) for one in (decay, values))
    states_LR: Tensor = _Recurrence.apply(decay_LR, values_LR)
    return states_LR.t().view(values.shape)


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
    u_LBKD, delta_LBKD, B_LBKN, C_LBKN = (_time_first(one.to(kind)) for one in (u_BKDL, delta_BKDL, B_BKNL, C_BKNL))
    delta_LBK1D = functional.softplus(delta_LBKD + bias_KD.to(kind)).unsqueeze(-2)
    decay_LBKND = (delta_LBK1D * A_KDN.to(kind).mT).exp_()
    values_LBKND = (delta_LBK1D * u_LBKD.unsqueeze(-2)) * B_LBKN.unsqueeze(-1)
    states_LR: Tensor = _Recurrence.apply(decay_LBKND.flatten(1), values_LBKND.flatten(1))
    reads_LBKND = states_LR.view_as(values_LBKND) * C_LBKN.unsqueeze(-1)
    y_LBKD = reads_LBKND.squeeze(-2) if reads_LBKND.shape[-2] == 1 else reads_LBKND.sum(-2)
    return y_LBKD.addcmul_(D_KD.to(kind), u_LBKD).movedim(0, -1).to(u_BKDL.dtype)


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


class _Recurrence(torch.autograd.Function):
    """h_t = decay_t h_(t-1) + values_t along the first axis of contiguous (L, R) tensors.

    With g_t = dh_t + decay_(t+1) g_(t+1), the gradient of values_t is g_t and that of decay_t is g_t h_(t-1).
    """

    @staticmethod
    def forward(ctx: Any, decay_LR: Tensor, values_LR: Tensor) -> Tensor:
        states_LR = torch.empty_like(values_LR)
        states_LR[0] = values_LR[0]
        _recur(decay_LR[1:], values_LR[1:], states_LR[0], states_LR[1:], order=1)
        ctx.save_for_backward(decay_LR, states_LR)
        return states_LR

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        decay_LR, states_LR = ctx.saved_tensors
        grad_LR = grads[0].contiguous()
        values_grad_LR, decay_grad_LR = torch.empty_like(grad_LR), torch.empty_like(grad_LR)
        values_grad_LR[-1] = grad_LR[-1]
        _recur(decay_LR[1:], grad_LR[:-1], values_grad_LR[-1], values_grad_LR[:-1], order=-1)
        decay_grad_LR[0] = 0.0
        torch.mul(values_grad_LR[1:], states_LR[:-1], out=decay_grad_LR[1:])
        return decay_grad_LR, values_grad_LR


def _recur(decay_MR: Tensor, values_MR: Tensor, start_R: Tensor, out_MR: Tensor, *, order: int) -> None:
    """Write the recurrence that starts from `start_R`: order 1 forwards in time, -1 backwards."""
    length = len(out_MR)
    num_chunks = length // CHUNK
    whole = num_chunks * CHUNK
    chunks, rest = slice(whole), slice(whole, length)
    if order == -1:
        chunks, rest = slice(length - whole, length), slice(length - whole)
    state_R = start_R
    if num_chunks:
        decay_GTR, values_GTR, out_GTR = (
            one[chunks].unflatten(0, (num_chunks, CHUNK)) for one in (decay_MR, values_MR, out_MR)
        )
        entered_GR = _entered(decay_GTR, values_GTR, start_R, order)
        _step(*(one.unbind(1)[::order] for one in (decay_GTR, values_GTR, out_GTR)), entered_GR)
        state_R = out_GTR.flatten(0, 1)[-1 if order == 1 else 0]
    _step(*(one[rest].unbind(0)[::order] for one in (decay_MR, values_MR, out_MR)), state_R)


def _entered(decay_GTR: Tensor, values_GTR: Tensor, start_R: Tensor, order: int) -> Tensor:
    """The state (G, R) with which each chunk is entered."""
    decays, values = decay_GTR.unbind(1)[::order], values_GTR.unbind(1)[::order]
    left_GR = values[0].clone()
    _step(decays[1:], values[1:], [left_GR] * (CHUNK - 1), left_GR)
    entered_GR = torch.empty_like(left_GR)
    entered = entered_GR.unbind(0)[::order]
    entered[0].copy_(start_R)
    total_GR = decay_GTR.prod(1)
    _step(*(one.unbind(0)[::order][:-1] for one in (total_GR, left_GR)), entered[1:], start_R)
    return entered_GR


def _step(decays: Sequence[Tensor], values: Sequence[Tensor], outs: Sequence[Tensor], state: Tensor) -> None:
    """Step through the recurrence from `state`, and write each state to its place in `outs`."""
    for decay, value, out in zip(decays, values, outs, strict=True):
        state = torch.addcmul(value, decay, state, out=out)


def _time_first(tensor: Tensor) -> Tensor:
    """The tensor with its last axis first, contiguous."""
    first = tensor.movedim(-1, 0)
    if first.is_contiguous():
        return first
    return tensor.reshape(-1, tensor.shape[-1]).t().contiguous().view(first.shape)  # fast for two axes alone
