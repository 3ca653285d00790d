"""The linear recurrence h_t = decay_t h_(t-1) + values_t in pure torch, in time linear in the length, on any device.

By odd-even reduction. Two steps that follow each other are one step, whose decay is the product of theirs, so all pairs
are joined at once, which leaves a recurrence of half the length; once that is solved, all states between are one step
away. Lengths L, L/2, L/4 ... add up to less than 2 L. Nothing is divided, so decays near 0 are exact. Time is the first
axis in memory, so that each kernel works on rows that lie together.

Source  Blelloch 1990, Prefix Sums and Their Applications, section 1.4, on recurrences.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# L length (time), R everything but time

FEW = 4
"""Up to so many tokens are stepped through one by one."""


def recur_(decay_LR: Tensor, values_LR: Tensor, start_R: Tensor, *, backwards: bool = False) -> None:
    """Replace values by states, from the state before the first one; `backwards` from the end of time to its start."""
    if len(values_LR):
        first = -1 if backwards else 0
        values_LR[first].addcmul_(decay_LR[first], start_R)
        _solve_(decay_LR, values_LR, backwards=backwards)


def _solve_(decay_LR: Tensor, values_LR: Tensor, *, backwards: bool) -> None:
    """The same, where the first value is a state already."""
    length = len(values_LR)
    if length <= FEW:
        order = -1 if backwards else 1
        decays, values = decay_LR.unbind()[::order], values_LR.unbind()[::order]
        for decay_R, value_R, before_R in zip(decays[1:], values[1:], values, strict=False):
            value_R.addcmul_(decay_R, before_R)
        return
    firsts, seconds, thirds, between = _pairs(length, backwards=backwards)
    values_LR[seconds].addcmul_(decay_LR[seconds], values_LR[firsts])
    _solve_(decay_LR[seconds] * decay_LR[firsts], values_LR[seconds], backwards=backwards)
    values_LR[thirds].addcmul_(decay_LR[thirds], values_LR[between])


def _pairs(length: int, *, backwards: bool) -> tuple[slice, slice, slice, slice]:
    """Places of the first steps of the pairs (0, 1), (2, 3) ..., of the second ones, of 2, 4 ..., and of those before.

    Steps are counted from the end of time where the recurrence runs backwards.
    """
    paired = length // 2 * 2
    if not backwards:
        return slice(0, paired, 2), slice(1, paired, 2), slice(2, length, 2), slice(1, length - 1, 2)
    unpaired, third = length - paired, (length - 1) % 2
    firsts, seconds = slice(unpaired + 1, length, 2), slice(unpaired, length, 2)
    return firsts, seconds, slice(third, length - 2, 2), slice(third + 1, length, 2)


def time_first(tensor: Tensor) -> Tensor:
    """The tensor with its last axis first, contiguous."""
    first = tensor.movedim(-1, 0)
    if first.is_contiguous():
        return first
    return tensor.reshape(-1, tensor.shape[-1]).t().contiguous().view(first.shape)  # fast for two axes alone
