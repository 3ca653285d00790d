from dataclasses import replace
from typing import ClassVar

import pyarrow as pa
import pytest
from _fakes import Best, Pack, ReadLines, Upper, Words, plan_of, run
from _records import remove_record

from pipeline.rounds import Round, Rounds
from pipeline.run.run_summary import stage_summary, summarise
from pipeline.run.worker import classify
from pipeline.stage import PartitionedStage
from pipeline.store.run_folder import RunFolder
from pipeline.store.storage import Storage

SHARDS = {f"{n:02d}": [f"line {n}", f"drop {n}", f"worst {n}"] for n in range(12)}


class Noted(PartitionedStage):
    """Notes each row in a round over shards."""

    version: ClassVar = 1
    reads: ClassVar = ("caption",)
    writes: ClassVar = ("duplicate_cluster_size",)

    def open(self, ctx):
        def note(given, send):
            for _, _, rows in given.tables:
                given.notes["rows seen"] += rows.num_rows

        def judge(shard, rows, received):
            return rows.append_column("duplicate_cluster_size", pa.array([1] * rows.num_rows, pa.int32()))

        return Rounds(
            rounds=(Round(name="note", over="shards", receives=(), run=note),), judge=judge, judge_receives=()
        )  # fmt: skip


def summary_of(plan):
    return summarise(plan, RunFolder(Storage(plan.out)))


def built(tmp_path, *stages):
    plan = plan_of(tmp_path, stages, SHARDS)
    assert run(plan).ok
    return plan


def test_rows_of_a_global_stage_are_counted_once(tmp_path):
    plan = built(tmp_path, ReadLines(), Words(), Best(), Pack())
    rows = {stage["name"]: (stage["rows_in"], stage["rows_out"]) for stage in summary_of(plan).stages}
    assert rows == {"readlines": (36, 36), "words": (36, 36), "best": (36, 24), "pack": (24, 24)}


def test_rejects_of_all_stages_come_in_the_order_of_the_chain(tmp_path):
    plan = built(tmp_path, ReadLines(), Upper(), Best(), Pack())
    rows = [row for table in summary_of(plan).rejects() for row in table.to_pylist()]
    assert [(row["stage"], row["shard"]) for row in rows] == [(stage, s) for stage in ("upper", "best") for s in SHARDS]


@pytest.mark.parametrize("num_shards", [12, 5])
def test_notes_of_rounds_are_those_of_the_latest_result(tmp_path, num_shards):
    plan = built(tmp_path, ReadLines(), Noted(), Pack())
    plan = replace(plan, shards=plan.shards[:num_shards])
    assert run(plan).ok
    found = stage_summary(plan, RunFolder(Storage(plan.out)), plan.stages[1])
    assert found["notes"] == {"rows seen": 3 * num_shards}
    assert (found["rows_in"], found["rows_out"]) == (3 * num_shards, 3 * num_shards)


def test_summary_names_shards_with_rows_and_their_files(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Pack()], {"a": ["one"], "b": ["drop"]})
    assert run(plan).ok
    found = summary_of(plan)
    assert [(shard, entry["rows"]) for shard, entry in found.shard_files.items()] == [("a", 1)]
    assert found.further_files == {}
    with found.open("a.tar") as handle:
        assert handle.read() == found.read("a.tar")
    assert [part.shard for part in found.parts()] == ["a"]


def test_record_that_is_not_there_is_no_shard_less(tmp_path):
    plan = built(tmp_path, ReadLines(), Upper(), Pack())
    remove_record(plan.out, plan.stages[1].folder, "03")
    with pytest.raises(OSError, match="1 records are not there") as caught:
        summary_of(plan)
    assert classify(caught.value)[0] == "retry"
