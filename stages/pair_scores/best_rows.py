"""Rules that keep the best rows of each group, in rounds: rows by group, rule by rule."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from core.settings import Settings
from pipeline.partitions import batches, hash_texts, part_of, sort_keys
from pipeline.rounds import Round, RoundInput, Send
from samples.columns import COLUMNS, SAMPLE_ID
from stages.pair_scores.bounds import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray


class Best(Settings):
    """Keep the best pairs by a score among those with one value of a column. Ties go by sample_id."""

    per: str
    keep: int = Field(ge=1)
    by: str
    prefer: Literal["highest", "lowest"] = "highest"

    @field_validator("per")
    @classmethod
    def _can_group(cls, name: str) -> str:
        return can_group(name)

    @field_validator("by")
    @classmethod
    def _can_rank(cls, name: str) -> str:
        return can_rank(name)


def can_group(name: str) -> str:
    """The name of a column by whose values pairs can be grouped. Raises ValueError for another one."""
    if name in COLUMNS and (COLUMNS[name].bulk or pa.types.is_list(COLUMNS[name].type)):
        raise ValueError(f"column {name!r} holds no single value: pairs cannot be grouped by it")
    return name


def can_rank(name: str) -> str:
    """The name of a column by whose values pairs can be ranked. Raises ValueError for another one."""
    if name in COLUMNS and name not in NUMBERS:
        raise ValueError(f"column {name!r} holds no numbers: pairs cannot be ranked by it")
    return name


def facts_of(rules: Sequence[Best], shard: int, table: pa.Table) -> pa.Table:
    """Place and id of each row, and its group and rank in each rule: 60 bytes a row, 30 more for each further rule."""
    columns = {"id": table[SAMPLE_ID], "row": np.arange(table.num_rows, dtype=np.int32)}
    columns["shard"] = np.full(table.num_rows, shard, np.int32)
    for number, rule in enumerate(rules):
        columns[_group(number)] = group_texts(table[rule.per])
        columns[_rank(number)] = _ranks(table[rule.by], rule.prefer)
    return pa.table(columns)


def rounds_of(rules: Sequence[Best]) -> list[Round]:
    """A round for each rule, which passes on its best rows and sends the others to their shards as `beyond`."""
    return [
        Round(name=f"best_{number}", over="parts", receives=(_left(number),), run=partial(_choose, rules, number))
        for number in range(len(rules))
    ]


def pass_on(rules: Sequence[Best], rows: pa.Table, given: RoundInput, send: Send, first: int = 0) -> None:
    """Send each row of `facts_of` to the next rule, from `first` on, in which it has a group."""
    for number in range(first, len(rules)):
        groups = rows[_group(number)]
        has_group = pc.is_valid(groups)
        send(_left(number), rows.filter(has_group), part_of(hash_texts(groups.filter(has_group)), given.num_parts))
        rows = rows.filter(pc.invert(has_group))


def details_of(rules: Sequence[Best], beyond: pa.Table) -> pa.Array:
    """What each row of `beyond` is told: which rule it did not meet."""
    before, after = (
        pa.array(texts, pa.string()).take(beyond["rule"].combine_chunks())
        for texts in (
            [f"{rule.per} " for rule in rules],
            [f" has {rule.keep} better by {rule.by}" for rule in rules],
        )
    )
    return pc.binary_join_element_wise(before, beyond["group"].combine_chunks(), after, "")


def _choose(rules: Sequence[Best], number: int, given: RoundInput, send: Send) -> None:
    for best, others in _split(partial(given.received, _left(number)), number, rules[number].keep):
        pass_on(rules, best, given, send, number + 1)
        rule = np.full(others.num_rows, number, np.int8)
        beyond = pa.table({"row": others["row"], "rule": rule, "group": others[_group(number)]})
        send("beyond", beyond, others["shard"].to_numpy().astype(np.int64))


def _left(number: int) -> str:
    """The stream of rows that a rule chooses from."""
    return f"left_{number}"


def _group(number: int) -> str:
    return f"group_{number}"


def _rank(number: int) -> str:
    return f"rank_{number}"


def group_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values as texts, equal where the values are. No value stays none, and NaN becomes none."""
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, pc.add(values, pa.scalar(0, values.type)))  # one zero, not two
    elif not pa.types.is_boolean(values.type):
        return values.cast(pa.string())
    found = values.combine_chunks().dictionary_encode()
    texts = pa.array([str(value) for value in found.dictionary.to_pylist()], pa.string())
    return pa.chunked_array([texts.take(found.indices)])


def _ranks(values: pa.ChunkedArray, prefer: Literal["highest", "lowest"]) -> pa.Array:
    """A number for each value, less where it is better. Scores without a value and NaN have infinity."""
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64()).to_numpy()
        return pa.array(np.where(np.isnan(numbers), np.inf, -numbers if prefer == "highest" else numbers))
    whole = values.fill_null(0).cast(pa.int64()).to_numpy()
    return pa.array(~whole if prefer == "highest" else whole, mask=values.is_null().to_numpy())


def _split(read: Callable[[], Iterable[pa.Table]], number: int, keep: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """(rows that are among the best of their group in a rule, the other rows) of every batch of rows.

    Two passes over the rows. It holds the best rows of each group, at 350 bytes each at the peak, and not the others.
    """
    best = None
    for batch in batches(read()):
        held = batch if best is None else pa.concat_tables([best, batch]).combine_chunks()
        best = held.take(_best(held, number, keep))
    if best is None:
        return
    places = np.sort(places_of(best))
    for batch in batches(read()):
        is_best = pa.array(np.isin(places_of(batch), places, assume_unique=True))
        yield batch.filter(is_best), batch.filter(pc.invert(is_best))


def _best(rows: pa.Table, number: int, keep: int) -> NDArray[np.int64]:
    """The rows that are among the best of their group, by rank, then id, then place."""
    of_row = rows[_group(number)].combine_chunks().dictionary_encode().indices.to_numpy()
    rank = rows[_rank(number)]
    by_rank = (rank.fill_null(0).to_numpy(), rank.is_null().to_numpy())  # no value comes last
    order = np.lexsort((places_of(rows), *sort_keys(rows["id"]), *by_rank, of_row))
    starts = np.flatnonzero(np.diff(of_row[order], prepend=-1))
    within = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    found: NDArray[np.int64] = order[within < keep]
    return found


def places_of(rows: pa.Table) -> NDArray[np.int64]:
    """A number of each row's shard and place in it."""
    shard, row = (rows[name].to_numpy().astype(np.int64) for name in ("shard", "row"))
    found: NDArray[np.int64] = shard << 32 | row
    return found
