"""Read the records of a pax header: the name, the size, and whether a file is sparse."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_NAME_BYTES = 8192
"""Twice the longest path of Linux."""
MAX_PAX_BYTES, MAX_PAX_RECORDS = 1 << 20, 4096
"""Of one header; attributes that macOS keeps there may be large."""
_DECIMAL = re.compile(rb"[0-9]{1,20}")


class DamageError(ValueError):
    """A header makes no sense."""


class Extras(NamedTuple):
    """Facts on a member from the headers before it. `is_garbled` where records make no sense and were ignored."""

    name: bytes | None = None
    size: int | None = None
    is_sparse: bool = False
    is_garbled: bool = False


def with_records(content: bytes, extras: Extras) -> Extras:
    """`extras` with what the records say: `length key=value`, one after the other, the length that of all of it.

    Nothing is read behind a damaged record. Raises DamageError for a name or size that is impossible.
    """
    at = 0
    for _ in range(MAX_PAX_RECORDS):
        if at >= len(content) or content[at] == 0:
            return extras
        space = content.find(b" ", at, at + 21)
        digits = content[at : max(at, space)]
        end = at + int(digits) if _DECIMAL.fullmatch(digits) else 0
        key, equals, value = content[space + 1 : max(0, end - 1)].partition(b"=")
        if not space < end <= len(content) or content[end - 1] != 0x0A or not equals:
            break
        extras = _with_record(extras, key, value)
        at = end
    return extras._replace(is_garbled=True)


def _with_record(extras: Extras, key: bytes, value: bytes) -> Extras:
    if key in (b"path", b"GNU.sparse.name"):
        if len(value) > MAX_NAME_BYTES:
            raise DamageError(f"a name of {len(value)} bytes")
        if not (key == b"path" and extras.is_sparse and extras.name):  # the path of a sparse file is made up
            extras = extras._replace(name=value)
    elif key == b"size":
        if not _DECIMAL.fullmatch(value):
            raise DamageError("a size that is none")
        extras = extras._replace(size=int(value))
    return extras._replace(is_sparse=True) if key.startswith(b"GNU.sparse.") else extras
