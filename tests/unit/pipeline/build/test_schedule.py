import pytest
from _fakes import Best, NumWords, Pack, ReadLines, Upper, Words, plan_of
from _fakes_over_shards import Pointer, Repeats

from pipeline.build.schedule import Schedule
from pipeline.store.records import ALL_SHARDS, Record, output_digest

SHARDS = {"a": ["one"], "b": ["two"]}


def record_of(shard):
    return Record(
        stage="s", fingerprint="f", shard=shard, input_digest="i", output_digest=output_digest({}), rows_in=1,
        rows_kept=1, rows_out=1,
    )  # fmt: skip


def ready(schedule, plan):
    """The steps that can start, which can start still."""
    tasks = [schedule.pop(s.index) for s in plan.stages for _ in iter(lambda s=s: schedule.has_ready(s.index), False)]
    for task in reversed(tasks):
        schedule.put_back(task)
    return [task.key for task in tasks]


def finish(schedule, plan, key, shards=()):
    while (task := schedule.pop(key[0])).key != key:
        schedule.put_back(task)
        schedule._queues[key[0]].ready.rotate(-1)
    schedule.done(task, [*map(record_of, shards), record_of(key[1])])


def test_each_step_waits_for_what_it_reads(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words(), Best(), NumWords(), Pack()], SHARDS)
    schedule = Schedule(plan, lambda task: None)
    assert ready(schedule, plan) == [(0, "a"), (0, "b")]
    finish(schedule, plan, (0, "b"))
    assert ready(schedule, plan) == [(0, "a")]
    finish(schedule, plan, (0, "a"))
    assert ready(schedule, plan) == [(1, ALL_SHARDS), (2, ALL_SHARDS)], "an artifact stage hands no rows on"
    finish(schedule, plan, (2, ALL_SHARDS), ["a", "b"])
    assert ready(schedule, plan) == [(1, ALL_SHARDS)]
    finish(schedule, plan, (1, ALL_SHARDS))
    assert ready(schedule, plan) == [(3, "a"), (3, "b")]
    finish(schedule, plan, (3, "b"))
    assert ready(schedule, plan) == [(3, "a"), (4, "b")]


def test_last_step_waits_for_artifacts_too_since_it_reports_them(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words(), Pack()], SHARDS)
    schedule = Schedule(plan, lambda task: None)
    for key in ((0, "a"), (0, "b"), (2, "a"), (2, "b")):
        finish(schedule, plan, key)
    assert ready(schedule, plan) == [(1, ALL_SHARDS)]
    finish(schedule, plan, (1, ALL_SHARDS))
    assert ready(schedule, plan) == [(2, ALL_SHARDS)]


def test_shard_goes_on_before_the_others_are_done(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Pack()], SHARDS)
    schedule = Schedule(plan, lambda task: None)
    finish(schedule, plan, (0, "a"))
    assert ready(schedule, plan) == [(0, "b"), (1, "a")]
    finish(schedule, plan, (1, "a"))
    assert ready(schedule, plan) == [(0, "b"), (2, "a")]


def started(plan, find=lambda task: None):
    """A schedule in which all steps of the source are done, and what it called back."""
    schedule, called = Schedule(plan, find), []
    schedule.on_rounds = lambda stage, digest: called.append((stage, bool(digest)))
    for shard in SHARDS:
        finish(schedule, plan, (0, shard))
    return schedule, called


def test_rounds_follow_each_other_and_the_last_one_hands_on_its_shards(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Repeats(), Upper()], SHARDS)
    schedule, called = started(plan)
    for step in ("_0-00000", "_1-00000", "_2-00000"):
        assert ready(schedule, plan) == [(1, step)]
        finish(schedule, plan, (1, step))
    assert called == [(1, True)]
    assert ready(schedule, plan) == [(1, "_3-00000")]
    finish(schedule, plan, (1, "_3-00000"), ["a", "b"])
    assert ready(schedule, plan) == [(2, "a"), (2, "b")]
    assert called == [(1, True), (1, False)]


def test_steps_of_a_round_know_their_place_and_have_one_digest(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Repeats()], {f"{n:02d}": ["x"] for n in range(10)})
    schedule = Schedule(plan, lambda task: None)
    for shard in plan.shards:
        finish(schedule, plan, (0, shard.name))
    tasks = [schedule.pop(1) for _ in range(3)]
    assert not schedule.has_ready(1)
    assert [task.round.shards for task in tasks] == [(0, 3), (3, 6), (6, 10)]
    assert {(task.round.number, task.round.over, task.round.num_parts) for task in tasks} == {(0, "shards", 1)}
    assert len({task.input_digest for task in tasks}) == 1


def test_finished_last_round_needs_no_earlier_one(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Repeats(), Upper()], SHARDS)
    last = [record_of("a"), record_of("b"), record_of("_3-00000")]
    schedule, called = started(plan, lambda task: last if task.round.is_last else None)
    assert [(task.key, records) for task, records in schedule.found] == [((1, "_3-00000"), last)]
    assert ready(schedule, plan) == [(2, "a"), (2, "b")]
    assert called == [(1, False)]


@pytest.mark.parametrize(("done", "expected"), [(0, []), (1, [(1, True)])])
def test_rounds_go_on_from_the_first_one(tmp_path, done, expected):
    plan = plan_of(tmp_path, [ReadLines(), Repeats()], SHARDS)
    schedule, called = started(plan, lambda task: [record_of(task.shard)] if task.round.number == done else None)
    assert schedule.found == []
    assert ready(schedule, plan) == [(1, "_0-00000")], "a later round counts only after those before it"
    assert called == expected, "what a finished first round sent is needed still"


def test_places_of_ids_are_found_before_the_first_shard_that_gathers(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Best(), Pointer()], SHARDS)
    schedule, called = started(plan)
    finish(schedule, plan, (1, "a"))
    assert ready(schedule, plan) == [(1, "b")]
    finish(schedule, plan, (1, "b"))
    assert ready(schedule, plan) == [(2, ALL_SHARDS), (3, "_0-00000")], "the rows before it may come later"
    finish(schedule, plan, (2, ALL_SHARDS), ["a", "b"])
    finish(schedule, plan, (3, "_0-00000"))
    assert ready(schedule, plan) == [(3, "_1-00000")]
    finish(schedule, plan, (3, "_1-00000"))
    assert ready(schedule, plan) == [(3, "a"), (3, "b")]
    assert called == [(3, True), (3, False)]
