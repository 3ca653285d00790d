"""One network in memory for all wrappers of a process that use it, whatever their batch size, prompt or other settings.

A network is kept as long as a wrapper uses it. Only networks that nothing changes once they are loaded are shared:
pipelines of diffusers exchange their schedulers and attention, so each wrapper has its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from models.schemes.snapshot import PINNED_SUFFIXES, files_in

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from models.placement import Placement
    from models.schemes.weights import Weights

T = TypeVar("T")

_IN_USE: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()


def shared(weights: Weights, placement: Placement, part: Hashable, load: Callable[[], T]) -> T:
    """What `load` gives, or what an earlier call gave, if that is still in use and the files are the same.

    `part` names what is loaded of the weights, and as what.
    """
    where = str(placement.torch_dtype()), str(placement.torch_device())
    key = part, weights.location, weights.revision, _files(weights), where
    found: T | None = _IN_USE.get(key)
    if found is None:
        found = _IN_USE[key] = load()
    return found


def _files(weights: Weights) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of change of each local file that decides a result."""
    if not weights.is_local:
        return ()
    root = Path(weights.location)
    stats = [(str(path), path.stat()) for path in ([root] if root.is_file() else files_in(root, PINNED_SUFFIXES))]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
