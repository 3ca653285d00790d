from _fakes import Best, NumWords, Pack, ReadLines, Upper, Words, plan_of

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
