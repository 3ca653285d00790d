"""Rounds of a stage: what steps get and send, by the runner that the tests of partitioned stages use."""

import pickle
from enum import StrEnum
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pytest
from _rounds import run_rounds

from pipeline.context import Context
from pipeline.rounds import Round, Rounds
from pipeline.stage import PartitionedStage

WORDS = {"a": ["x", "y", "x"], "b": [], "c": ["y", "z"]}


class TooMany(StrEnum):
    TOO_MANY = "too_many"


class CountWords(PartitionedStage):
    """Counts rows of a caption over all shards, and rejects those of more than one."""

    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    rejects: ClassVar = TooMany
    stream: str = "words"

    def open(self, ctx):
        return Rounds(
            rounds=(
                Round(name="scatter", over="shards", receives=(), run=self._scatter),
                Round(name="count", over="parts", receives=("words",), run=self._count),
                Round(name="total", over="once", receives=("totals",), run=self._total),
            ),
            judge=self._judge, judge_receives=("repeated",),
        )  # fmt: skip

    def _scatter(self, given, send):
        for shard, _, table in given.tables:
            words = table["caption"].to_pylist()
            to = np.array([sum(word.encode()) % given.num_parts for word in words], np.int64)
            facts = {"word": pa.array(words, pa.string()), "row": np.arange(len(words)), "shard": [shard] * len(words)}
            send(self.stream, pa.table(facts), to)

    def _count(self, given, send):
        assert list(given.tables) == []
        rows = [row for table in given.received("words") for row in table.to_pylist()]
        words = [row["word"] for row in rows]
        again = [row for row in rows if words.count(row["word"]) > 1]
        assert [row for table in given.received("words") for row in table.to_pylist()] == rows, "a second pass"
        repeated = pa.table({"row": [row["row"] for row in again]})
        send("repeated", repeated, np.array([row["shard"] for row in again], np.int64))
        send("totals", pa.table({"n": [len(set(words))]}), np.zeros(1, np.int64))

    def _total(self, given, send):
        given.notes["words"] += sum(table["n"].to_pylist()[0] for table in given.received("totals"))

    def _judge(self, name, table, received):
        repeated = {n for rows in received("repeated") for n in rows["row"].to_pylist()}
        reasons = [TooMany.TOO_MANY.value if n in repeated else None for n in range(table.num_rows)]
        return pa.table({"sample_id": table["sample_id"], "reject_reason": pa.array(reasons, pa.string())})


def tables():
    return {
        name: pa.table(
            {"sample_id": [f"{name}{n}" for n in range(len(words))], "caption": pa.array(words, pa.string())}
        )
        for name, words in WORDS.items()
    }


@pytest.mark.parametrize("num_parts", [1, 3, 8])
@pytest.mark.parametrize("group_size", [1, 2, 3])
def test_rows_reach_the_part_and_the_shard_that_they_are_sent_to(num_parts, group_size):
    ctx = Context(stage_name="count")
    found = run_rounds(CountWords(), ctx, tables(), num_parts=num_parts, group_size=group_size)
    assert {name: table["reject_reason"].to_pylist() for name, table in found.items()} == {
        "a": ["too_many"] * 3, "b": [], "c": ["too_many", None],
    }  # fmt: skip
    assert dict(ctx.notes) == {"words": 3}


def test_a_stream_that_no_later_round_receives_is_refused():
    with pytest.raises(AssertionError, match="stream 'wrods' is received by no later round"):
        run_rounds(CountWords(stream="wrods"), Context(stage_name="count"), tables())


def test_a_partitioned_stage_is_of_its_kind_and_pickles():
    stage = CountWords()
    assert stage.kind == "partitioned"
    assert stage.rounds_over() == ("shards", "parts", "once")
    assert pickle.loads(pickle.dumps(stage)) == stage
