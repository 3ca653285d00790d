"""Classes by name: a place `module:Class`, and tables of places. A module is imported when its class is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from core.errors import UsageError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping


def class_at(place: str) -> Any:
    """The class at `module:Class`. Imports the module."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def find_class(table: Mapping[str, str], name: str, what: str) -> Any:
    """The class of a name in a table of places. Raises UsageError with the nearest name for an unknown `what`."""
    if name not in table:
        raise UsageError(f"no {what} is called {name!r}{nearest(name, table)}")
    return class_at(table[name])
