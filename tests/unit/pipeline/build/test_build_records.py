"""The records that a build writes: on the disk in time, gone in time, and there after a kill or a full disk."""

import json
import uuid
from dataclasses import replace

import pytest
from _fakes import Best, Log, Pack, ReadLines, Scripted, Upper, manifest_of, plan_of, run
from _records import num_records, record_line, records

from pipeline.plan.plan import make_plan
from pipeline.store.records import ALL_SHARDS
from pipeline.store.storage import Storage

SHARDS = {"a": ["one", "drop"], "b": ["two", "worst"], "c": ["three"]}
CHAIN = [ReadLines(), Upper(), Pack()]


def rebuild(plan):
    """The steps that a build starts."""
    log = Log()
    assert run(plan, on_event=log).ok
    return sorted(log.of("started"))


def record_files(plan):
    storage = Storage(plan.out)
    return [[name for name in sorted(storage.sizes(p.folder)) if name.startswith("records")] for p in plan.stages]


def test_records_of_a_stage_are_in_one_sorted_file_after_each_build(tmp_path):
    plan = plan_of(tmp_path, CHAIN, {"b": ["one"], "a": ["two"]})
    run(plan)
    assert record_files(plan) == [["records.jsonl"]] * 3
    (tmp_path / "run" / plan.stages[1].folder / "b.parquet").unlink()
    run(plan)
    assert record_files(plan) == [["records.jsonl"]] * 3
    lines = (tmp_path / "run" / plan.stages[2].folder / "records.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["shard"] for line in lines] == [ALL_SHARDS, "a", "b"]
    assert lines[1] == record_line(plan.out, plan.stages[2].folder, "a")


class Killed(BaseException):
    """The process ends here."""


def killed_at(plan, number):
    """Build until step `number`, counted from 0, is submitted, and die there. Returns the records there are."""

    def die(task):
        if len(executor.submitted) > number:
            raise Killed

    executor = Scripted(Storage(plan.out), on_submit=die)
    with pytest.raises(Killed):
        run(plan, executor)
    return set(records(plan.out))


@pytest.mark.parametrize("number", range(10))
def test_build_killed_at_any_step_keeps_each_record(tmp_path, number):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    done = killed_at(plan, number)
    assert len(done) == number
    started = set(rebuild(plan))
    assert started.isdisjoint(done)
    assert len(started) + number == 10 == num_records(plan.out)
    assert record_files(plan) == [["records.jsonl"]] * 3


def test_record_of_a_step_that_is_done_again_is_gone_before_it_starts(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan)
    (tmp_path / "in/a.lines").write_text("a new line")
    plan = make_plan(manifest_of(*CHAIN), str(tmp_path / "run"), [str(tmp_path / "in")])
    seen = []
    executor = Scripted(Storage(plan.out))
    executor.on_submit = lambda task: seen.append(
        (plan.stages[task.stage].name, task.shard) in records(plan.out)
    )  # fmt: skip
    assert run(plan, executor).ok
    assert seen == [False] * 4


def test_records_of_verdicts_are_gone_before_another_is_given(tmp_path):
    chain = [ReadLines(), Best(), Upper()]
    run(plan_of(tmp_path, chain, SHARDS))
    (tmp_path / "in/a.lines").write_text("a new line")
    plan = make_plan(manifest_of(*chain), str(tmp_path / "run"), [str(tmp_path / "in")])
    seen = []
    executor = Scripted(Storage(plan.out))
    executor.on_submit = lambda task: seen.append(num_records(plan.out, "best")) if task.stage == 1 else None
    assert run(plan, executor).ok
    assert seen == [0]
    assert num_records(plan.out, "best") == 4


def test_rejects_of_an_earlier_global_verdict_are_removed(tmp_path):
    chain = [ReadLines(), Best(), Pack()]
    run(plan_of(tmp_path, chain, {"a": ["one", "worst"], "b": ["worse", "worst of all"]}))
    plan = plan_of(tmp_path, chain, {"a": ["one"], "b": ["worse", "worst of all"]})
    assert run(plan).ok
    assert [n for n in Storage(plan.out).sizes(plan.stages[1].folder) if "rejects" in n] == ["b.rejects.parquet"]
    assert [r["shard"] for r in json.loads((tmp_path / "run/dataset/about.json").read_text())["rejects"]] == ["b"]


@pytest.mark.parametrize("is_full_at_the_end", [False, True])
def test_full_disk_for_records_stops_the_build_with_one_line(tmp_path, monkeypatch, is_full_at_the_end):
    plan = plan_of(tmp_path, CHAIN, SHARDS)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.store.record_log._Added.write", full)
        if is_full_at_the_end:
            patch.setattr("pipeline.store.record_log._Added.join", full)
        result = run(plan)
    assert not result.ok
    assert result.stopped == "no space left on device; fix the cause and run the same command again"
    assert [tally.done for tally in result.tallies] == [0, 0, 0]
    assert run(plan).ok


def test_records_that_cannot_be_joined_count_and_are_joined_later(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, CHAIN, SHARDS)

    def full(*_):
        raise OSError(28, "No space left on device", "records.jsonl")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.store.record_log.RecordWriter.close", full)
        result = run(plan)
    assert result.stopped == "no space left on device: records.jsonl; fix the cause and run the same command again"
    assert result.num_left == 0
    assert record_files(plan) == [["records-000001.jsonl"]] * 3
    assert rebuild(plan) == []
    assert record_files(plan) == [["records.jsonl"]] * 3


def test_remote_build_writes_records_before_steps_that_read_them(tmp_path):
    plan = replace(plan_of(tmp_path, [ReadLines(), Best(), Pack()], SHARDS), out=f"memory://{uuid.uuid4().hex}/run")
    storage = Storage(plan.out)
    seen = {}
    executor = Scripted(storage)
    executor.on_submit = lambda task: seen.setdefault((task.stage, task.shard), num_records(plan.out))
    assert run(plan, executor).ok
    assert seen == {
        (0, "a"): 0, (0, "b"): 0, (0, "c"): 0, (1, ALL_SHARDS): 3,
        (2, "a"): 3, (2, "b"): 3, (2, "c"): 3, (2, ALL_SHARDS): 10,
    }  # fmt: skip
    assert num_records(plan.out) == 11
    assert rebuild(plan) == []
