"""Take the first rows of the input up to a number, in all or of each edit type, and end the build there.

Reads   nothing, or edit_type (string) where the number goes by it
Writes  nothing
Drops   rows after the last one that is taken (beyond_target), and rows of an edit type that no number is given for
        (type_not_wanted)
Source  none: the order is that of shards by name and of rows in a shard, so the rows are the same for any workers. The
        build reads shards in portions that grow until there are enough rows (ADR-0021).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import field_validator

from pipeline.rounds import Round, RoundInput, Rounds, Send
from pipeline.stage import QuotaStage
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.context import Context
    from pipeline.rounds import Received

EDIT_TYPE = "edit_type"
ANY_TYPE = ""
"""Stands for all rows together where the number does not go by edit type."""
MOST_ROWS = 10**12


class TakeReject(StrEnum):
    """Why a row is not taken."""

    BEYOND_TARGET = "beyond_target"  # enough rows came before it
    TYPE_NOT_WANTED = "type_not_wanted"  # target_rows has no number for its edit type


class TakeRows(QuotaStage):
    """The first `target_rows` rows. Later stages cache or write, and reject nothing."""

    version: ClassVar[int] = 1
    rejects: ClassVar = TakeReject

    target_rows: int | dict[str, int]
    """Rows to take: `1000` in all, or a number for each edit type, `{ change_colour = 500, remove = 500 }`."""

    @field_validator("target_rows", mode="before")
    @classmethod
    def _are_numbers_of_rows(cls, given: object) -> object:
        numbers = list(given.values()) if isinstance(given, dict) else [given]
        if not numbers or not all(type(one) is int and 1 <= one <= MOST_ROWS for one in numbers):
            raise ValueError(
                f"expected a number of rows, 1 to {MOST_ROWS:,}, or one for each edit type, as in "
                "{ change_colour = 500, remove = 500 }"
            )
        return given

    def num_wanted(self) -> int:
        """The number, or the sum of the numbers of all edit types."""
        return sum(self._wanted().values())

    def needs_columns(self) -> tuple[str, ...]:
        """The edit type, where the numbers go by it."""
        return (EDIT_TYPE,) if self._goes_by_type else ()

    def open(self, ctx: Context) -> Rounds:  # noqa: ARG002  no service of the engine is needed
        """Two rounds: rows of each shard are counted, then divided among the shards in order."""
        return Rounds(
            rounds=(
                Round(name="count", over="shards", receives=(), run=self._count),
                Round(name="divide", over="once", receives=("counts",), run=self._divide),
            ),
            judge=self._judge,
            judge_receives=("shares",),
        )

    def _count(self, given: RoundInput, send: Send) -> None:
        """Send the number of rows of each shard, by type. Types that no number is given for may be many: they stay."""
        wanted = pa.array(list(self._wanted()), pa.string())
        for shard, _, table in given.tables:
            types = self._types(table)
            types = types.filter(pc.is_in(types, value_set=wanted))
            counted = pa.table({"type": types}).group_by("type").aggregate([([], "count_all")])
            rows = counted.append_column("shard", pa.array(np.full(counted.num_rows, shard, np.int64)))
            send("counts", rows, np.zeros(rows.num_rows, np.int64))

    def _divide(self, given: RoundInput, send: Send) -> None:
        """Send each shard the number of its rows that are taken, by type, and note what is missing in the end."""
        left = self._wanted()
        tables = list(given.received("counts"))
        shares: list[tuple[int, str, int]] = []
        if tables:
            counted = pa.concat_tables(tables).sort_by([("shard", "ascending"), ("type", "ascending")])
            for shard, name, count in zip(
                *(counted[c].to_pylist() for c in ("shard", "type", "count_all")), strict=True
            ):
                taken = min(left.get(name, 0), count)
                if taken:
                    left[name] -= taken
                    shares.append((shard, name, taken))
        table = pa.table({
            "type": pa.array([name for _, name, _ in shares], pa.string()),
            "rows": pa.array([taken for _, _, taken in shares], pa.int64()),
        })  # fmt: skip
        send("shares", table, np.array([shard for shard, _, _ in shares], np.int64))
        for name, missing in sorted(left.items()):
            if missing and self._goes_by_type:
                given.notes[f"rows missing of edit type {name}"] += missing

    def _judge(self, name: str, table: pa.Table, received: Received) -> pa.Table:  # noqa: ARG002
        """The verdict on a shard: of each type the first rows are taken."""
        share: dict[str, int] = {}
        for part in received("shares"):
            share.update(zip(part["type"].to_pylist(), part["rows"].to_pylist(), strict=True))
        types = self._types(table)
        is_taken = np.zeros(table.num_rows, np.bool_)
        for one, number in share.items():
            is_taken[np.flatnonzero(pc.equal(types, one).to_numpy(zero_copy_only=False))[:number]] = True
        is_wanted = pc.is_in(types, value_set=pa.array(list(self._wanted()), pa.string()))
        reasons = pc.if_else(is_wanted, TakeReject.BEYOND_TARGET.value, TakeReject.TYPE_NOT_WANTED.value)
        taken = pa.array(is_taken)
        details = pc.if_else(
            is_wanted, pa.scalar(None, pa.string()), pc.binary_join_element_wise("edit type", types, " ")
        )
        none = pa.scalar(None, pa.string())
        return pa.table({
            SAMPLE_ID: table[SAMPLE_ID], REJECT_REASON: pc.if_else(taken, none, reasons),
            REJECT_DETAIL: pc.if_else(taken, none, details),
        })  # fmt: skip

    @property
    def _goes_by_type(self) -> bool:
        return not isinstance(self.target_rows, int)

    def _wanted(self) -> dict[str, int]:
        """Type -> rows to take."""
        found: Mapping[str, int] = (
            {ANY_TYPE: self.target_rows} if isinstance(self.target_rows, int) else self.target_rows
        )
        return dict(found)

    def _types(self, table: pa.Table) -> pa.Array:
        """The type of each row by which it is counted. No edit type counts as an empty name."""
        if self._goes_by_type:
            return pc.fill_null(table[EDIT_TYPE], "").combine_chunks()
        return pa.repeat(ANY_TYPE, table.num_rows)
