"""Keep the pairs that are good enough: bounds on columns by name, and the best of each group.

Reads   the columns that `preset`, `bounds`, `bounds_by_edit_type` and `best` name, and edit_type (string) where bounds
        go by it
Writes  nothing
Drops   pairs outside of a bound (the reason names column and side), and those that `best` leaves out of their group;
        of two pairs that are each other's reverse both stay
Source  bounds of area: Zhao et al. 2024, UltraEdit (its released code); similarity bounds: Brooks et al. 2023,
        InstructPix2Pix, section 3.1.2; the published filters are in stages/pair_scores/filters.py.
"""

from __future__ import annotations

import math
from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from core.settings import Settings
from pipeline.stage import GlobalStage, ShardTables
from samples.columns import COLUMNS, PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.pair_scores.bounds import NUMBERS, Bounds, BoundsTable
from stages.pair_scores.filters import FILTERS, FilterName, with_filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pipeline.context import Context

EDIT_TYPE = "edit_type"
NOT_AMONG_BEST = "not_among_best"

SelectReject = StrEnum(  # type: ignore[misc]  # one reason for each side of each column
    "SelectReject",
    [(f"{side}_{name}".upper(), f"{side}_{name}") for name in NUMBERS for side in ("low", "high")]
    + [(NOT_AMONG_BEST.upper(), NOT_AMONG_BEST)],
)


class Best(Settings):
    """Keep the best pairs by a score among those with one value of a column. Ties go by sample_id."""

    per: str
    keep: int = Field(ge=1)
    by: str
    prefer: Literal["highest", "lowest"] = "highest"

    @field_validator("per")
    @classmethod
    def _can_group(cls, name: str) -> str:
        if name in COLUMNS and (COLUMNS[name].bulk or pa.types.is_list(COLUMNS[name].type)):
            raise ValueError(f"column {name!r} holds no single value: pairs cannot be grouped by it")
        return name

    @field_validator("by")
    @classmethod
    def _can_rank(cls, name: str) -> str:
        if name in COLUMNS and name not in NUMBERS:
            raise ValueError(f"column {name!r} holds no numbers: pairs cannot be ranked by it")
        return name

    def rank(self, value: float | None) -> float:
        """A rank in which smaller is better, and no value and NaN come last."""
        if value is None or math.isnan(value):
            return math.inf
        return -value if self.prefer == "highest" else value


BestRule = Annotated[Best, Field(strict=False)]


class Select(GlobalStage):
    """Verdicts by bounds and ranks. Without settings all pairs pass."""

    version: ClassVar[int] = 2
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

    def open(self, ctx: Context) -> Callable[[ShardTables], Iterator[tuple[str, pa.Table]]]:
        """A function from light columns of all shards to a verdict a shard, in about 100 bytes a row."""

        def verdicts(tables: ShardTables) -> Iterator[tuple[str, pa.Table]]:
            beyond = self._beyond_best(tables) if self._best() else {}
            absent = set(self.bounds_by_edit_type)
            for name, table in tables():
                rows = table.select([SAMPLE_ID, *self.needs_columns()]).to_pylist()
                absent -= {row[EDIT_TYPE] for row in rows} if absent else set()
                found = [self._verdict(row, beyond) for row in rows]
                yield name, _verdict_table(table[SAMPLE_ID], found)
            ctx.notes.update(f"edit types with bounds that no pair has: {edit_type}" for edit_type in sorted(absent))

        return verdicts

    def _verdict(self, row: dict[str, Any], beyond: Mapping[str, str]) -> tuple[str | None, str | None]:
        failed = self._out_of_bounds(row)
        if failed is None and row[SAMPLE_ID] in beyond:
            failed = NOT_AMONG_BEST, beyond[row[SAMPLE_ID]]
        return failed or (None, None)

    def _out_of_bounds(self, row: dict[str, Any]) -> tuple[str, str] | None:
        """(reason, detail) of the first bound, in the order of `NUMBERS`, that the row is beyond."""
        bounds = self._bounds_of(row.get(EDIT_TYPE))
        for name, limits in bounds.items():
            value = row[name]
            if failed := limits.failed(value):
                side, bound = failed
                text = "no value" if value is None else f"{value:.4f}"
                return f"{side}_{name}", f"{name} {text}, bound {bound}"
        return None

    def _bounds_of(self, edit_type: str | None) -> dict[str, Bounds]:
        found = {**with_filter(self.preset, self.bounds), **self.bounds_by_edit_type.get(edit_type or "", {})}
        return {name: found[name] for name in NUMBERS if name in found}

    def _best(self) -> tuple[Best, ...]:
        if self.best or self.preset is None:
            return self.best
        return (Best(per=PARENT_ID, keep=FILTERS[self.preset].keep, by="pair_direction_cos"),)

    def _beyond_best(self, tables: ShardTables) -> dict[str, str]:
        """Id of each pair within bounds that `best` leaves out -> the detail of its verdict."""
        names = [SAMPLE_ID, *dict.fromkeys(name for rule in self._best() for name in (rule.per, rule.by))]
        left = [
            tuple(row[name] for name in names)
            for _, table in tables()
            for row in table.select([SAMPLE_ID, *self.needs_columns()]).to_pylist()
            if self._out_of_bounds(row) is None
        ]
        beyond: dict[str, str] = {}
        for rule in self._best():
            group_at, score_at = names.index(rule.per), names.index(rule.by)
            groups: defaultdict[Any, list[tuple[float, str]]] = defaultdict(list)
            for row in left:
                if row[group_at] is not None:
                    groups[row[group_at]].append((rule.rank(row[score_at]), row[0]))
            for group, pairs in groups.items():
                detail = f"{rule.per} {group} has {rule.keep} better by {rule.by}"
                beyond |= dict.fromkeys([own for _, own in sorted(pairs)[rule.keep :]], detail)
            left = [row for row in left if row[0] not in beyond]
        return beyond


def _verdict_table(ids: pa.ChunkedArray, found: list[tuple[str | None, str | None]]) -> pa.Table:
    reasons, details = ([one[at] for one in found] for at in (0, 1))
    columns = {REJECT_REASON: pa.array(reasons, pa.string()), REJECT_DETAIL: pa.array(details, pa.string())}
    return pa.table({SAMPLE_ID: ids, **columns})
