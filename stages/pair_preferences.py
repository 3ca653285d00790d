"""Pair the best candidate of each edit with one that is worse by a margin, for training on preferences.

A group is the rows with one value of `per` and one instruction. Its chosen row is the best by the column `by` of those
within `bounds`; the rejected one need not be within them, so candidates that failed a bound are rejected ones too. A
row without a score is neither. Put it after the scores, in the place of `select`: what an earlier `select` dropped is
not seen here.

A group gives one pair, and so each edit one sample: a sample holds one edited and one rejected image, as the trainers
of preferences read it. Of a group's other rows the scores are kept among the rejects.

Reads   the columns that `per`, `by` and `bounds` name, and instruction (string) where there is one; where there are
        any, edit_type (string) and judge_status (string) are kept with the rejects, which `editloom calibrate` counts
Writes  rejected_id (string), preference_score (float32), rejected_score (float32), preference_margin (float32)
Drops   rows without a score (no_score); the rejected row of a pair, whose image `attach_rejected` fetches
        (rejected_of_pair); rows outside of a bound (the reason names column and side); other rows than the best
        (not_chosen); and, but with `keep_unpaired`, the best row where no other one is worse by the margin (no_margin)
        or no other one has a score (no_rival)
Source  Wallace et al. 2023, Diffusion-DPO (arXiv 2311.12908): pairs of one condition, of which one image is preferred.
        Chosen: scores in the place of people, the margin, and one pair a group.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from pipeline.partitions import batches, hash_texts, part_of
from pipeline.rounds import Round, RoundInput, Rounds, Send
from pipeline.stage import PartitionedStage
from samples.columns import PARENT_ID
from stages.pair_scores.best_rows import can_group, can_rank
from stages.pair_scores.bound_verdicts import out_of_bounds
from stages.pair_scores.bounds import BOUND_REASONS, NUMBERS, BoundsTable
from stages.preferences.pairing import INSTRUCTION, PairRule, Rejected, facts_of, paired
from stages.preferences.verdicts import OWN_REASONS, WRITES, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.context import Context
    from pipeline.rounds import Received

PreferenceReject = StrEnum(  # type: ignore[misc]  # one reason for each side of each column
    "PreferenceReject", [(name.upper(), name) for name in (*OWN_REASONS, *BOUND_REASONS)]
)


class PairPreferences(PartitionedStage):
    """The chosen row of each group, with the id of the rejected one."""

    version: ClassVar[int] = 1
    reads_if_present: ClassVar = (INSTRUCTION, "edit_type", "judge_status")
    writes: ClassVar = WRITES
    rejects: ClassVar = PreferenceReject

    by: str
    """Column of the score, such as target_caption_cos."""
    prefer: Literal["highest", "lowest"] = "highest"
    """`lowest` where a lower score is better."""
    per: str = PARENT_ID
    """Column whose values make the groups: the candidates of one edit have one parent."""
    rejected: Rejected = "worst"
    """Which of the rows that are worse by the margin: the worst, the best of them, or one by a hash of the ids."""
    min_margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Least difference of the two scores, in units of the score. Rows of equal score never make a pair."""
    bounds: BoundsTable = Field(default_factory=dict)
    """What the chosen row must pass, as in `select`: `bounds.pair_image_cos = { min = 0.75 }`."""
    keep_unpaired: bool = False
    """Whether the best row stays where its group gives no pair. It then has no rejected_id."""

    @field_validator("per")
    @classmethod
    def _can_group(cls, name: str) -> str:
        return can_group(name)

    @field_validator("by")
    @classmethod
    def _can_rank(cls, name: str) -> str:
        return can_rank(name)

    def needs_columns(self) -> tuple[str, ...]:
        """The columns that the settings name."""
        return tuple(dict.fromkeys((self.per, self.by, *self.bounds)))

    def open(self, ctx: Context) -> Rounds:  # noqa: ARG002  no service of the engine is needed
        """The rounds: rows go to the parts of their groups, and verdicts back to their shards.

        A part takes 250 bytes at the peak for each of its rows, with ids of 22 letters and instructions of 33.
        """
        scatter = Round(name="scatter", over="shards", receives=(), run=self._scatter)
        pair = Round(name="pair", over="parts", receives=("facts",), run=self._pair)
        return Rounds(rounds=(scatter, pair), judge=self._judge, judge_receives=("verdicts",))

    def _rule(self) -> PairRule:
        return PairRule(
            per=self.per, by=self.by, prefer=self.prefer, rejected=self.rejected, min_margin=self.min_margin
        )

    def _scatter(self, given: RoundInput, send: Send) -> None:
        """Send each row that has a group to the part of the group."""

        def facts() -> Iterator[pa.Table]:
            for shard, _, table in given.tables:
                if table.num_rows:
                    yield facts_of(table, shard, self._rule(), pc.is_null(self._beyond(table)[0]))

        for rows in batches(facts()):
            send("facts", rows, part_of(hash_texts(rows["group"]), given.num_parts))

    def _pair(self, given: RoundInput, send: Send) -> None:
        """Send each row of the part its verdict."""
        tables = list(given.received("facts"))
        if tables:
            verdicts, counts = paired(pa.concat_tables(tables).combine_chunks(), self._rule())
            given.notes.update(counts)
            send("verdicts", verdicts, verdicts["shard"].to_numpy().astype(np.int64))

    def _judge(self, name: str, table: pa.Table, received: Received) -> pa.Table:  # noqa: ARG002
        verdicts = received("verdicts")
        return judged(table, verdicts, self._rule(), self._beyond(table), keep_unpaired=self.keep_unpaired)

    def _beyond(self, table: pa.Table) -> tuple[pa.Array, pa.Array]:
        """(reason, detail) of the first bound, in the order of `NUMBERS`, that each row is beyond."""
        bounds = {name: self.bounds[name] for name in NUMBERS if name in self.bounds}
        return out_of_bounds(table, [(np.arange(table.num_rows), bounds)])
