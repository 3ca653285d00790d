"""Columns from rows that are dictionaries, with those of a reject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from samples.columns import REJECT_DETAIL, REJECT_REASON, column

if TYPE_CHECKING:
    from collections.abc import Sequence


def with_rows(batch: pa.Table, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> pa.Table:
    """The batch with the columns `names` and those of a reject; what a row does not have is null."""
    types = {name: column(name).type for name in names}
    for name, dtype in {**types, REJECT_REASON: pa.string(), REJECT_DETAIL: pa.string()}.items():
        batch = batch.append_column(name, pa.array([row.get(name) for row in rows], dtype))
    return batch
