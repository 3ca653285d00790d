"""Times sides that take turns. The order of the sides is reversed after each round, and the medians are compared."""

from __future__ import annotations

import statistics
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from diffusers import UNet2DConditionModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def take_turns(sides: dict[str, Callable[[], dict[str, float]]], num_rounds: int) -> dict[str, dict[str, Any]]:
    """For each side the median of each of its numbers over the rounds, after one call that does not count.

    `all` holds the numbers of every round, in order.
    """
    for call in sides.values():
        call()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    order = list(sides)
    for _ in range(num_rounds):
        for name in order:
            found[name].append(sides[name]())
        order.reverse()
    return {
        name: {**{key: statistics.median(row[key] for row in rows) for key in rows[0]}, "all": rows}
        for name, rows in found.items()
    }


def clocked(call: Callable[[], Any]) -> dict[str, float]:
    """Seconds of the call, and how many of them were spent inside the UNet. The GPU is waited for."""
    with _unet_clock() as unet_s:
        began = _now()
        call()
        seconds = _now() - began
    return {"seconds": seconds, "unet_seconds": sum(unet_s)}


@contextmanager
def _unet_clock() -> Iterator[list[float]]:
    spent: list[float] = []
    forward: Callable[..., Any] = UNet2DConditionModel.forward

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = _now()
        output = forward(*args, **kwargs)
        spent.append(_now() - began)
        return output

    UNet2DConditionModel.forward = timed
    try:
        yield spent
    finally:
        UNet2DConditionModel.forward = forward


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
