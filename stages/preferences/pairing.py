"""Finds in each group of rows the chosen one, the best by its score, and the one that is rejected against it.

Everything works on whole columns, and the result does not depend on the order of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.partitions import hash_texts, sort_keys
from samples.columns import SAMPLE_ID
from stages.pair_scores.best_rows import group_texts, places_of
from stages.pair_scores.scores import DECIMALS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Indices = NDArray[np.int64]
    Flags = NDArray[np.bool_]
    Doubles = NDArray[np.float64]

INSTRUCTION = "instruction"
Rejected = Literal["worst", "next", "random"]

VERDICTS = pa.schema([
    ("shard", pa.int32()), ("row", pa.int32()), ("role", pa.int8()), ("other_id", pa.string()),
    ("rejected_score", pa.float32()), ("margin", pa.float32()),
])  # fmt: skip
"""Place and role of a row. `other_id` is the rejected row for the chosen one, and the chosen one for all others. Score
of the rejected row and margin are there for the chosen row of a pair."""


class Role(IntEnum):
    """The part of a row in its group."""

    NO_RIVAL = 0  # the chosen row, and no other row has a score
    NO_MARGIN = 1  # the chosen row, and no other one is worse by the margin
    CHOSEN = 2  # the chosen row of a pair
    REJECTED = 3  # the rejected row of a pair
    OTHER = 4  # neither


@dataclass(frozen=True, kw_only=True, slots=True)
class PairRule:
    """How rows are grouped and ranked, and which of those that are worse by the margin is rejected."""

    per: str
    by: str
    prefer: Literal["highest", "lowest"]
    rejected: Rejected
    min_margin: float


def scores_of(values: pa.ChunkedArray) -> Doubles:
    """The scores in double precision. No value and what is not finite become NaN."""
    numbers: Doubles = values.cast(pa.float64(), safe=False).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)


def facts_of(table: pa.Table, shard: int, rule: PairRule, is_within: pa.Array) -> pa.Table:
    """Id, place, group and score of each row, and whether it may be chosen. Rows without a group are left out."""
    facts = pa.table({
        "id": table[SAMPLE_ID], "shard": np.full(table.num_rows, shard, np.int32),
        "row": np.arange(table.num_rows, dtype=np.int32), "group": _groups(table, rule.per),
        "score": scores_of(table[rule.by]), "is_within": is_within,
    })  # fmt: skip
    return facts.filter(facts["group"].is_valid())


def _groups(table: pa.Table, per: str) -> pa.ChunkedArray:
    """A text for each row, equal where the value of `per` is, and the instruction. No value of `per` stays none."""
    groups = group_texts(table[per])
    if INSTRUCTION not in table.column_names:
        return groups
    length = pc.utf8_length(groups).cast(pa.string())  # so that no two pairs of texts give one text
    return pc.binary_join_element_wise(length, groups, table[INSTRUCTION].fill_null(""), " ")


def paired(facts: pa.Table, rule: PairRule) -> tuple[pa.Table, dict[str, int]]:
    """(`VERDICTS` on the rows of `facts_of`, counts of groups). All rows of a group must be there, and at least one."""
    of_row = facts["group"].combine_chunks().dictionary_encode().indices.to_numpy()
    num_groups = int(of_row.max()) + 1
    score = facts["score"].to_numpy()
    rank = -score if rule.prefer == "highest" else score
    by_id = (places_of(facts), *sort_keys(facts["id"]))
    has_score = ~np.isnan(score)
    chosen = _firsts(of_row, has_score & facts["is_within"].to_numpy(), (*by_id, rank))
    # scores have so many decimals: without rounding, 0.8 and 0.6 in single precision are less than 0.2 apart
    margin: Doubles = np.where(chosen[of_row] < 0, np.nan, rank - rank[chosen[of_row]]).round(DECIMALS)
    order = hash_texts(facts["id"]) if rule.rejected == "random" else -rank if rule.rejected == "worst" else rank
    is_worse = (margin > 0) & (margin >= rule.min_margin)
    rejected = _firsts(of_row, is_worse, (*by_id, order))
    num_scored = np.bincount(of_row[has_score], minlength=num_groups)
    role = _roles(of_row, chosen, rejected, num_scored)
    counts = {
        "groups that gave a pair": int((rejected >= 0).sum()),
        "groups of which no row is worse by the margin": int((role == Role.NO_MARGIN).sum()),
        "groups of which one row has a score": int((role == Role.NO_RIVAL).sum()),
        "groups of which no row may be chosen": int((chosen < 0).sum()),
    }
    return _verdicts(facts, of_row, (chosen, rejected), role, margin), counts


def _firsts(of_row: Indices, may_be: Flags, keys: Sequence[NDArray[np.generic]]) -> Indices:
    """The first row of each group by the keys, the last of them counting most, of those that may be; -1 for none."""
    order = np.lexsort((*keys, of_row))
    order = order[may_be[order]]
    first = order[np.flatnonzero(np.diff(of_row[order], prepend=-1))]
    found = np.full(int(of_row.max()) + 1, -1)
    found[of_row[first]] = first
    return found


def _roles(of_row: Indices, chosen: Indices, rejected: Indices, num_scored: Indices) -> NDArray[np.int8]:
    role = np.full(len(of_row), Role.OTHER, np.int8)
    alone = np.where(num_scored > 1, Role.NO_MARGIN, Role.NO_RIVAL)
    has_chosen = chosen >= 0
    role[chosen[has_chosen]] = np.where(rejected >= 0, Role.CHOSEN, alone)[has_chosen]
    role[rejected[rejected >= 0]] = Role.REJECTED
    return role


def _verdicts(
    facts: pa.Table, of_row: Indices, found: tuple[Indices, Indices], role: NDArray[np.int8], margin: Doubles
) -> pa.Table:
    """The verdicts, in the order of `facts`. `found` has the chosen and the rejected row of each group."""
    chosen, rejected = found[0][of_row], found[1][of_row]
    other = np.where(chosen == np.arange(len(of_row)), rejected, chosen)
    at = pa.array(rejected, mask=role != Role.CHOSEN)
    columns = {
        "shard": facts["shard"], "row": facts["row"], "role": pa.array(role),
        "other_id": facts["id"].take(pa.array(other, mask=other < 0)),
        "rejected_score": facts["score"].take(at), "margin": pa.chunked_array([pa.array(margin).take(at)]),
    }  # fmt: skip
    return pa.table(columns).cast(VERDICTS)
