"""Keep the pairs that are good enough: bounds on masks and scores, and no target used too often.

Reads   source_mask_frac (float32), target_mask_frac (float32), source_caption_cos (float32),
        target_caption_cos (float32), target_margin_cos (float32), pair_image_cos (float32),
        pair_direction_cos (float32), retrieval_cos (float32), target_id (string): each where a setting asks for it
Writes  nothing
Drops   pairs outside of a bound (the reason names it), and those beyond `max_pairs_per_target` of one target, the
        best by target_caption_cos staying; of two pairs that are each other's reverse both stay
Source  bounds of area: Zhao et al. 2024, UltraEdit (its released code); similarity bounds: Brooks et al. 2023,
        InstructPix2Pix, section 3.1.2.
"""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from pydantic import Field

from pipeline.stage import Context, GlobalStage, ShardTables
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet


class SelectReject(StrEnum):
    """Why a pair is left out, in the order of the checks."""

    MASK_TOO_SMALL = "mask_too_small"
    MASK_TOO_LARGE = "mask_too_large"
    SOURCE_CAPTION_COS = "low_source_caption_cos"
    TARGET_CAPTION_COS = "low_target_caption_cos"
    TARGET_MARGIN_COS = "low_target_margin_cos"
    IMAGE_COS = "low_pair_image_cos"
    DIRECTION_COS = "low_pair_direction_cos"
    RETRIEVAL_COS = "low_retrieval_cos"
    TARGET_OVERUSED = "target_overused"


LOWER_BOUNDS = {
    "min_source_caption_cos": ("source_caption_cos", SelectReject.SOURCE_CAPTION_COS),
    "min_target_caption_cos": ("target_caption_cos", SelectReject.TARGET_CAPTION_COS),
    "min_target_margin_cos": ("target_margin_cos", SelectReject.TARGET_MARGIN_COS),
    "min_image_cos": ("pair_image_cos", SelectReject.IMAGE_COS),
    "min_direction_cos": ("pair_direction_cos", SelectReject.DIRECTION_COS),
    "min_retrieval_cos": ("retrieval_cos", SelectReject.RETRIEVAL_COS),
}
MASK_COLUMNS = ("source_mask_frac", "target_mask_frac")


class Select(GlobalStage):
    """Verdicts by bounds; a setting of none asks for nothing."""

    version: ClassVar[int] = 1
    reads_if_present: ClassVar = (
        *MASK_COLUMNS, "source_caption_cos", "target_caption_cos", "target_margin_cos", "pair_image_cos",
        "pair_direction_cos", "retrieval_cos", "target_id",
    )  # fmt: skip
    rejects: ClassVar = SelectReject

    min_mask_frac: float | None = Field(default=None, ge=0, le=1)
    max_mask_frac: float | None = Field(default=None, ge=0, le=1)
    min_source_caption_cos: float | None = Field(default=None, ge=-1, le=1)
    min_target_caption_cos: float | None = Field(default=None, ge=-1, le=1)
    min_target_margin_cos: float | None = Field(default=None, ge=-2, le=2)
    """How much better the target must fit its own caption than the source's: whether the edit shows at all."""
    min_image_cos: float | None = Field(default=None, ge=-1, le=1)
    min_direction_cos: float | None = Field(default=None, ge=-1, le=1)
    min_retrieval_cos: float | None = Field(default=None, ge=-1, le=1)
    max_pairs_per_target: int | None = Field(default=None, ge=1)

    def needs_columns(self) -> tuple[str, ...]:
        """The columns that the bounds in use are about."""
        columns = [column for setting, (column, _) in LOWER_BOUNDS.items() if getattr(self, setting) is not None]
        if self.min_mask_frac is not None or self.max_mask_frac is not None:
            columns += MASK_COLUMNS
        if self.max_pairs_per_target is not None:
            columns += ["target_id", "target_caption_cos"]
        return tuple(dict.fromkeys(columns))

    def open(self, ctx: Context) -> Callable[[ShardTables], Iterator[tuple[str, pa.Table]]]:
        """A function from light columns of all shards to a verdict a shard; about 100 bytes a row in memory."""
        del ctx

        def verdicts(tables: ShardTables) -> Iterator[tuple[str, pa.Table]]:
            overused = self._overused(tables) if self.max_pairs_per_target is not None else frozenset()
            for name, table in tables():
                rows = table.select([SAMPLE_ID, *self.needs_columns()]).to_pylist()
                found = [self._verdict(row, overused) for row in rows]
                yield (
                    name,
                    pa.table(
                        {
                            SAMPLE_ID: table[SAMPLE_ID],
                            REJECT_REASON: pa.array([reason for reason, _ in found], pa.string()),
                            REJECT_DETAIL: pa.array([detail for _, detail in found], pa.string()),
                        }
                    ),
                )

        return verdicts

    def _verdict(self, row: dict[str, Any], overused: AbstractSet[str]) -> tuple[str | None, str | None]:
        failed = self._out_of_bounds(row)
        if failed is None and row[SAMPLE_ID] in overused:
            failed = (
                SelectReject.TARGET_OVERUSED,
                f"more than {self.max_pairs_per_target} pairs with {row['target_id']}",
            )
        return (failed[0].value, failed[1]) if failed else (None, None)

    def _out_of_bounds(self, row: dict[str, Any]) -> tuple[SelectReject, str] | None:
        for column in MASK_COLUMNS:
            if self.min_mask_frac is not None and not row[column] >= self.min_mask_frac:
                return SelectReject.MASK_TOO_SMALL, f"{column} {row[column]:.4f}, bound {self.min_mask_frac}"
            if self.max_mask_frac is not None and not row[column] <= self.max_mask_frac:
                return SelectReject.MASK_TOO_LARGE, f"{column} {row[column]:.4f}, bound {self.max_mask_frac}"
        for setting, (column, reason) in LOWER_BOUNDS.items():
            bound = getattr(self, setting)
            if bound is not None and not row[column] >= bound:
                return reason, f"{column} {row[column]:.4f}, bound {bound}"
        return None

    def _overused(self, tables: ShardTables) -> set[str]:
        """Ids of pairs within bounds whose target has enough better ones."""
        assert self.max_pairs_per_target is not None
        by_target: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
        for _, table in tables():
            for row in table.select([SAMPLE_ID, *self.needs_columns()]).to_pylist():
                if self._out_of_bounds(row) is None:
                    by_target[row["target_id"]].append((-row["target_caption_cos"], row[SAMPLE_ID]))
        return {own for pairs in by_target.values() for _, own in sorted(pairs)[self.max_pairs_per_target :]}
