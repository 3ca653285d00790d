"""Keep the pairs that are good enough: bounds on columns by name, and the best of each group.

Reads   the columns that `preset`, `bounds`, `bounds_by_edit_type` and `best` name, edit_type (string) where bounds go
        by it; where there are any, edit_type and judge_status (string) are kept with the rejects, which
        `editloom calibrate` counts
Writes  nothing
Drops   pairs outside of a bound (the reason names column and side), and those that `best` leaves out of their group;
        of two pairs that are each other's reverse both stay
Source  bounds of area: Zhao et al. 2024, UltraEdit (its released code); similarity bounds: Brooks et al. 2023,
        InstructPix2Pix, section 3.1.2; the published filters are in stages/pair_scores/filters.py.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from pipeline.partitions import batches
from pipeline.rounds import Round, RoundInput, Rounds, Send
from pipeline.stage import PartitionedStage
from samples.columns import PARENT_ID, REJECT_DETAIL, REJECT_REASON
from stages.pair_scores.best_rows import Best, details_of, facts_of, pass_on, rounds_of
from stages.pair_scores.bound_verdicts import out_of_bounds
from stages.pair_scores.bounds import BOUND_REASONS, NUMBERS, Bounds, BoundsTable
from stages.pair_scores.filters import FILTERS, FilterName, with_filter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.context import Context
    from pipeline.rounds import Received

EDIT_TYPE = "edit_type"
NOT_AMONG_BEST = "not_among_best"

SelectReject = StrEnum(  # type: ignore[misc]  # one reason for each side of each column
    "SelectReject", [(reason.upper(), reason) for reason in (*BOUND_REASONS, NOT_AMONG_BEST)]
)


BestRule = Annotated[Best, Field(strict=False)]


class Select(PartitionedStage):
    """Verdicts by bounds and ranks. Without settings all pairs pass."""

    version: ClassVar[int] = 3
    reads_if_present: ClassVar = (EDIT_TYPE, "judge_status")
    rejects: ClassVar = SelectReject

    preset: FilterName | None = None
    """A published filter (`ultraedit-free`, `ultraedit-region`, `instruct-pix2pix`): `bounds` replaces those of the
    same columns, and `best` its choice, which is the best of each parent by `pair_direction_cos`."""
    bounds: BoundsTable = Field(default_factory=dict)
    """Column -> least and greatest value: `bounds.target_caption_cos = { min = 0.2, max = 0.9 }`."""
    bounds_by_edit_type: dict[str, BoundsTable] = Field(default_factory=dict)
    """Edit type -> bounds that replace those of the same columns for pairs of this type:
    `bounds_by_edit_type.change_colour.target_margin_cos = { min = 0.1 }`."""
    best: tuple[BestRule, ...] = Field(default=(), strict=False)
    """Pairs kept of each group, of those within bounds: `[{ per = "parent_id", keep = 1, by = "target_caption_cos" }]`;
    `prefer = "lowest"` where a lower score is better. A later entry sees what the earlier ones left."""

    def needs_columns(self) -> tuple[str, ...]:
        """The columns that the settings name."""
        tables = [with_filter(self.preset, self.bounds), *self.bounds_by_edit_type.values()]
        by_type = (EDIT_TYPE,) if self.bounds_by_edit_type else ()
        ranked = [name for rule in self._best() for name in (rule.per, rule.by)]
        return tuple(dict.fromkeys([*(name for table in tables for name in table), *by_type, *ranked]))

    def open(self, ctx: Context) -> Rounds:  # noqa: ARG002  no service of the engine is needed
        """The rounds: none for bounds, one for each rule of `best`, one for the note on edit types.

        A part of a rule takes 350 bytes at the peak for each row that is among the best of its group, or may yet be.
        """
        rounds = rounds_of(self._best())
        if self.bounds_by_edit_type:
            rounds.append(Round(name="note", over="once", receives=("edit_types",), run=self._note))
        if rounds:
            rounds.insert(0, Round(name="scatter", over="shards", receives=(), run=self._scatter))
        return Rounds(rounds=tuple(rounds), judge=self._judge, judge_receives=("beyond",) if self._best() else ())

    def _scatter(self, given: RoundInput, send: Send) -> None:
        """Send the edit types to `note`, and the rows within bounds to the rules."""
        rules = self._best()
        edit_types: dict[str | None, None] = {}

        def facts() -> Iterator[pa.Table]:
            for shard, _, table in given.tables:
                if not table.num_rows:
                    continue
                if self.bounds_by_edit_type:
                    edit_types.update(dict.fromkeys(pc.unique(table[EDIT_TYPE]).to_pylist()))
                is_within = pc.is_null(self._out_of_bounds(table)[0])
                yield facts_of(rules, shard, table).filter(is_within)

        for rows in batches(facts()):
            pass_on(rules, rows, given, send)
        if self.bounds_by_edit_type:
            types = pa.table({EDIT_TYPE: pa.array(list(edit_types), pa.string())})
            send("edit_types", types, np.zeros(types.num_rows, np.int64))

    def _note(self, given: RoundInput, send: Send) -> None:  # noqa: ARG002  nothing is sent
        """Note the edit types with bounds that no pair has."""
        found = {name for table in given.received("edit_types") for name in table[EDIT_TYPE].to_pylist()}
        absent = sorted(set(self.bounds_by_edit_type) - found)
        given.notes.update(f"edit types with bounds that no pair has: {edit_type}" for edit_type in absent)

    def _judge(self, name: str, table: pa.Table, received: Received) -> pa.Table:  # noqa: ARG002
        """The verdict on a shard: by bounds, then by `best`."""
        reasons, details = self._out_of_bounds(table)
        if self._best() and (tables := list(received("beyond"))):
            beyond = pa.concat_tables(tables).sort_by("row")
            is_beyond = np.zeros(table.num_rows, np.bool_)
            is_beyond[beyond["row"].to_numpy()] = True
            mask = pa.array(is_beyond)
            reasons = pc.replace_with_mask(reasons, mask, pa.repeat(NOT_AMONG_BEST, beyond.num_rows))
            details = pc.replace_with_mask(details, mask, details_of(self._best(), beyond))
        read = {column: table[column] for column in table.column_names}  # so that the rejects have their scores
        return pa.table({**read, REJECT_REASON: reasons, REJECT_DETAIL: details})

    def _out_of_bounds(self, table: pa.Table) -> tuple[pa.Array, pa.Array]:
        """(reason, detail) of the first bound, in the order of `NUMBERS`, that each row is beyond."""
        left = np.ones(table.num_rows, np.bool_)
        groups = []
        if self.bounds_by_edit_type and table.num_rows:
            types = table[EDIT_TYPE].fill_null("")
            for edit_type in self.bounds_by_edit_type:
                is_of_type = pc.equal(types, edit_type).to_numpy()
                groups.append((np.flatnonzero(is_of_type), self._bounds_of(edit_type)))
                left &= ~is_of_type
        return out_of_bounds(table, [*groups, (np.flatnonzero(left), self._bounds_of(None))])

    def _bounds_of(self, edit_type: str | None) -> dict[str, Bounds]:
        """The bounds of pairs of a type in `bounds_by_edit_type`, or of all other pairs."""
        own = {} if edit_type is None else self.bounds_by_edit_type[edit_type]
        found = {**with_filter(self.preset, self.bounds), **own}
        return {name: found[name] for name in NUMBERS if name in found}

    def _best(self) -> tuple[Best, ...]:
        if self.best or self.preset is None:
            return self.best
        return (Best(per=PARENT_ID, keep=FILTERS[self.preset].keep, by="pair_direction_cos"),)
