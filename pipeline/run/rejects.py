"""Rejected rows: stored with stage, reason and light columns, and counted."""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import ContractError
from samples.columns import COLUMNS, PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Collection

REJECT_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("shard", "stage", SAMPLE_ID, REJECT_REASON, REJECT_DETAIL, "row")]
)
"""`row` is a JSON object with the row's light columns as they were when it was rejected."""

MAX_DETAIL_CHARS = 500
MAX_VALUE_CHARS = 2000


class EngineReject(StrEnum):
    """Reject reasons of the engine itself."""

    DUPLICATE_IMAGE = "duplicate_image"  # the same image bytes came earlier in the same shard
    EXCEPTION = "exception"  # the stage raised on this row alone; the detail has the exception
    WORKER_LOST = "worker_lost"  # the stage never finished this row alone, or the worker died at it


class RejectLog:
    """Collects the rejected rows of one stage on one shard, in the order they came."""

    def __init__(self, stage: str, shard: str, allowed: Collection[str]) -> None:
        self.stage, self.shard = stage, shard
        self.allowed = frozenset(allowed) | {r.value for r in EngineReject}
        self.counts: Counter[str] = Counter()
        self.held_bytes = 0
        self._tables: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        """Log rows that have `sample_id`, `reject_reason` and any light columns."""
        if rows.num_rows == 0:
            return
        reasons = [str(r) for r in rows[REJECT_REASON].to_pylist()]
        for reason in reasons:
            if reason not in self.allowed:
                raise ContractError(f"stage {self.stage}: reject reason {reason!r} is not in its `rejects` enum")
        self.counts.update(reasons)
        details = rows[REJECT_DETAIL].to_pylist() if REJECT_DETAIL in rows.column_names else [None] * rows.num_rows
        light = rows.select([n for n in rows.column_names if _is_light(n)])
        table = pa.Table.from_pydict(
            {
                "shard": [self.shard] * rows.num_rows,
                "stage": [self.stage] * rows.num_rows,
                SAMPLE_ID: rows[SAMPLE_ID].to_pylist(),
                REJECT_REASON: reasons,
                REJECT_DETAIL: [None if d is None else str(d)[:MAX_DETAIL_CHARS] for d in details],
                "row": [_row_json(row) for row in light.to_pylist()],
            },
            schema=REJECT_SCHEMA,
        )
        self.held_bytes += table.nbytes
        self._tables.append(table)

    def add_quarantined(self, row: pa.Table, reason: EngineReject, detail: str) -> None:
        """Log one row that the stage failed on."""
        row = row.select([n for n in row.column_names if n == SAMPLE_ID or _is_light(n)])
        row = row.append_column(REJECT_REASON, pa.array([reason.value], pa.string()))
        self.add(row.append_column(REJECT_DETAIL, pa.array([detail], pa.string())))

    @property
    def total(self) -> int:
        """Number of rows logged."""
        return sum(self.counts.values())

    def table(self) -> pa.Table:
        """The rows in memory, as they are stored."""
        return pa.concat_tables(self._tables) if self._tables else REJECT_SCHEMA.empty_table()

    def drain(self) -> pa.Table:
        """Return the rows in memory and drop them."""
        table, self._tables, self.held_bytes = self.table(), [], 0
        return table


def split(rows: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Kept and rejected rows, by `reject_reason`. A table without that column has no rejects."""
    if REJECT_REASON not in rows.column_names:
        return rows, rows.slice(0, 0)
    keep = pc.is_null(rows[REJECT_REASON])
    if pc.all(keep).as_py() or rows.num_rows == 0:
        return rows, rows.slice(0, 0)
    return rows.filter(keep), rows.filter(pc.invert(keep))


def _is_light(name: str) -> bool:
    return name in COLUMNS and not COLUMNS[name].bulk and name not in (SAMPLE_ID, PARENT_ID)


def _row_json(row: dict[str, Any]) -> str:
    known = {
        k: v[:MAX_VALUE_CHARS] if isinstance(v, str) else v
        for k, v in row.items()
        if v is not None and not isinstance(v, bytes)
    }
    return json.dumps(known, sort_keys=True, ensure_ascii=False, default=str)
