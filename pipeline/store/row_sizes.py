"""How many bytes rows take, and the limit on rows that are in memory at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH_BYTES = 32 << 20
"""Most bytes of rows in memory at a time, plus one row: of a batch, a row group, rows read ahead, rejects held."""


def row_bytes(table: pa.Table) -> NDArray[np.int64]:
    """Bytes of each row: of its text, images and lists. A column of fixed width counts 8."""
    total = np.full(table.num_rows, 8 * table.num_columns, np.int64)
    for chunked in table.columns if table.num_rows else ():
        total += np.concatenate([_cell_bytes(chunk) for chunk in chunked.chunks])
    return total


def _cell_bytes(cells: pa.Array) -> NDArray[np.int64]:
    if pa.types.is_list(cells.type):
        ends = np.concatenate([[0], np.cumsum(_cell_bytes(cells.values), dtype=np.int64)])
        offsets = cells.offsets.to_numpy()
        sizes: NDArray[np.int64] = ends[offsets[1:]] - ends[offsets[:-1]]
        return sizes
    if pa.types.is_string(cells.type) or pa.types.is_binary(cells.type):
        offsets = cells.buffers()[1]
        if not len(cells) or offsets is None:
            return np.zeros(len(cells), np.int64)
        return np.diff(np.frombuffer(offsets, np.int32, len(cells) + 1, 4 * cells.offset)).astype(np.int64)
    return np.full(len(cells), 8, np.int64)


def num_fitting(sizes: NDArray[np.int64], room: float) -> int:
    """How many of the first rows fit into `room` bytes together, but at least one where there is any."""
    return min(len(sizes), max(1, int(np.searchsorted(np.cumsum(sizes), room, side="right"))))
