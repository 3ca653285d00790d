"""Measures whether the target of a pair has the source's attention, in any implementation over a UNet of diffusers.

Only two things are observed: the input of each attention layer, and what enters its output projection. From the input
and the layer's own weights, plain softmax attention gives the output that the layer should have: in self-attention the
source's map over the target's values, in cross-attention the source's map for words that both captions have.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.attention_processor import Attention
from torch.nn.functional import linear

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

TOLERANCE = 1e-3
"""Of the relative distance of an output to the wanted one."""
LEAST_DIFFERENCE = 1e-2
"""Relative distance between the wanted output and the target's own. A layer with less cannot tell."""


@dataclass(frozen=True, slots=True)
class Call:
    """One attention layer at one step: what entered it, and what its heads gave. B rows, T places, D channels."""

    layer: Any
    hidden_BTD: Tensor
    text_BLD: Tensor | None
    heads_BTD: Tensor


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of the layers that can tell: how many there are, and in how many the target has the source's attention."""

    self_layers: int
    self_transferred: int
    cross_layers: int
    cross_transferred: int
    source_changed: int
    """Layers in which the source's own attention is not what plain sampling gives."""

    @property
    def holds(self) -> bool:
        """Attention was transferred in every layer, and the source was left alone."""
        whole = self.self_layers == self.self_transferred and self.cross_layers == self.cross_transferred
        return whole and self.self_layers > 0 and self.cross_layers > 0 and not self.source_changed

    def as_json(self) -> dict[str, Any]:
        """Counts, and whether the test is passed."""
        return {**asdict(self), "holds": self.holds}


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """The calls of all attention layers while the context is open, in order."""
    calls: list[Call] = []
    forward: Callable[..., Any] = Attention.forward

    def watched(self: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        text = args[0] if args else kwargs.get("encoder_hidden_states")
        heads: list[Tensor] = []
        hook = self.to_out[0].register_forward_pre_hook(lambda _, given: heads.append(given[0].detach().clone()))
        try:
            output = forward(self, hidden_states, *args, **kwargs)
        finally:
            hook.remove()
        calls.append(Call(self, hidden_states.detach().clone(), None if text is None else text.detach(), heads[0]))
        return output

    Attention.forward = watched
    try:
        yield calls
    finally:
        Attention.forward = forward


@torch.inference_mode()
def verdict(calls: Sequence[Call], pairs: Sequence[tuple[int, int]], shared_L: Tensor, most_places: int) -> Verdict:
    """What the calls of steps say that lie within both shares.

    `pairs` are rows (source, target) of the batch. `shared_L` is true at the places of tokens that both captions have,
    in captions whose words stand at the same places. Self-attention is transferred up to `most_places` places.
    """
    counts = {"self_layers": 0, "self_transferred": 0, "cross_layers": 0, "cross_transferred": 0, "source_changed": 0}
    for call in calls:
        kind = "self" if call.text_BLD is None else "cross"
        if kind == "self" and call.hidden_BTD.shape[1] > most_places:
            continue
        for source, target in pairs:
            wanted, own, plain = _outputs(call, source, target, shared_L)
            if distance(own, wanted) < LEAST_DIFFERENCE:
                continue
            counts[f"{kind}_layers"] += 1
            counts[f"{kind}_transferred"] += distance(call.heads_BTD[target].float(), wanted) < TOLERANCE
            counts["source_changed"] += distance(call.heads_BTD[source].float(), plain) > TOLERANCE
    return Verdict(**counts)


def distance(one: Tensor, other: Tensor) -> float:
    """The length of the difference, relative to `other`."""
    return float((one - other).norm() / other.norm())


def shared_places(tokenizer: Any, source: str, target: str) -> Tensor:
    """(L,): true where both captions have the same token, padding included. Raises ValueError for unequal lengths."""
    one, other = (tokenizer(text, padding="max_length", truncation=True).input_ids for text in (source, target))
    lengths = [len(tokenizer(text).input_ids) for text in (source, target)]
    if lengths[0] != lengths[1]:
        raise ValueError(f"captions have {lengths[0]} and {lengths[1]} tokens; expected as many in both")
    return torch.tensor(one) == torch.tensor(other)


def _outputs(call: Call, source: int, target: int, shared_L: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(T, D) each: the target's wanted output, that of the target's own attention, and the source's own."""
    source_map_HTL, target_map_HTL = _map(call, source), _map(call, target)
    wanted_HTL = source_map_HTL
    if call.text_BLD is not None:
        wanted_HTL = torch.where(shared_L.to(source_map_HTL.device), source_map_HTL, target_map_HTL)
    return (
        _joined(wanted_HTL, call, target), _joined(target_map_HTL, call, target), _joined(source_map_HTL, call, source)
    )  # fmt: skip


def _map(call: Call, row: int) -> Tensor:
    """(H, T, L): the plain attention map of a row."""
    query_HTd = _heads(call.layer, call.layer.to_q, call.hidden_BTD[row])
    key_HLd = _heads(call.layer, call.layer.to_k, _read(call, row))
    return (query_HTd @ key_HLd.transpose(1, 2) / math.sqrt(query_HTd.shape[2])).softmax(dim=-1)


def _joined(map_HTL: Tensor, call: Call, row: int) -> Tensor:
    value_HLd = _heads(call.layer, call.layer.to_v, _read(call, row))
    return (map_HTL @ value_HLd).transpose(0, 1).flatten(1)


def _read(call: Call, row: int) -> Tensor:
    return (call.hidden_BTD if call.text_BLD is None else call.text_BLD)[row]


def _heads(layer: Any, projection: Any, states_LD: Tensor) -> Tensor:
    bias = None if projection.bias is None else projection.bias.float()
    projected_LD = linear(states_LD.float(), projection.weight.float(), bias)
    heads_HLd: Tensor = projected_LD.unflatten(1, (layer.heads, -1)).transpose(0, 1)
    return heads_HLd
