"""Counts the bytes of tensors that are alive at the same time, on any device, also of tensors without values.

A storage counts from the operation that makes it until nothing refers to it any more. Storages that were there before
do not count, nor does what a kernel allocates inside.
"""

from __future__ import annotations

import weakref
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

REST = "rest"
"""Part of the bytes that were made in no named network."""


class LiveBytes(TorchDispatchMode):
    """Within, `live` is the number of bytes that operations have made and that are still in use, `peak` its maximum.

    `parts` has the bytes of the peak by the network in whose forward pass they were made.
    """

    def __init__(self, networks: Mapping[str, torch.nn.Module] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self.parts: dict[str, int] = {}
        self._networks = dict(networks or {})
        self._live_parts = dict.fromkeys((*self._networks, REST), 0)
        self._within = [REST]
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._known.update(_storages((args, kwargs)))
        out = func(*args, **(kwargs or {}))
        for storage in _storages(out):
            if storage not in self._known:
                self._add(storage)
        return out

    @contextmanager
    def by_network(self) -> Iterator[None]:
        """Within, bytes made in a forward pass of a network count as its own."""
        with ExitStack() as stack:
            for name, network in self._networks.items():
                for hook in (
                    network.register_forward_pre_hook(lambda *_, name=name: self._within.append(name)),
                    network.register_forward_hook(self._leave, always_call=True),
                ):
                    stack.callback(hook.remove)
            yield

    def _leave(self, *_: Any) -> None:
        self._within.pop()

    def _add(self, storage: Any) -> None:
        self._known.add(storage)
        num_bytes, part = storage.nbytes(), self._within[-1]
        self._change(num_bytes, part)
        weakref.finalize(storage, self._change, -num_bytes, part)
        if self.live > self.peak:
            self.peak, self.parts = self.live, dict(self._live_parts)

    def _change(self, num_bytes: int, part: str) -> None:
        self.live += num_bytes
        self._live_parts[part] += num_bytes


def _storages(tree: Any) -> Iterator[Any]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))


def nbytes(*networks: torch.nn.Module) -> int:
    """Bytes of the parameters and buffers."""
    return sum(one.nbytes for network in networks for one in (*network.parameters(), *network.buffers()))
