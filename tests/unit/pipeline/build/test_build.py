import json

import pytest
from _fakes import (
    Best,
    Log,
    NumWords,
    Pack,
    ReadLines,
    Scripted,
    Twins,
    Upper,
    Words,
    entry,
    manifest_of,
    plan_of,
    rows_of,
    run,
    write_shards,
)
from _records import put_line, remove_record

from pipeline.build.build import Build
from pipeline.plan.manifest import RunOn
from pipeline.plan.plan import make_plan
from pipeline.run.task import Outcome
from pipeline.store.records import ALL_SHARDS
from pipeline.store.storage import Storage

SHARDS = {"a": ["one", "drop"], "b": ["two", "worst"], "c": ["three"]}
CHAIN = [ReadLines(), Upper(), Pack()]


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch):
    monkeypatch.setattr("pipeline.build.attempts.BACKOFF_S", 0.001)


def scripted(plan, script=None, **how):
    executor = Scripted(Storage(plan.out), script, **how)
    return run(plan, executor), executor


def submitted(executor):
    return [(stage, shard) for stage, shard, _, _ in executor.submitted]


def test_build_ends_with_a_record_for_every_step(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    result = run(plan)
    assert result.ok
    assert result.num_left == 0
    assert [(t.done, t.total) for t in result.tallies] == [(3, 3), (3, 3), (4, 4)]
    assert [(t.rows_in, t.rows_out, dict(t.rejects)) for t in result.tallies] == [
        (5, 5, {}), (5, 4, {"dropped": 1}), (4, 4, {}),
    ]  # fmt: skip


def test_second_build_does_nothing_and_starts_no_executor(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan)
    log = Log()
    result = run(plan, on_event=log)
    assert result.ok
    assert log.of("started") == log.of("executor_starting") == []
    assert all(t.cached == t.total for t in result.tallies)


def test_stage_furthest_downstream_goes_first(tmp_path):
    _, executor = scripted(plan_of(tmp_path, CHAIN, SHARDS))
    assert submitted(executor)[:4] == [("readlines", "a"), ("upper", "a"), ("pack", "a"), ("readlines", "b")]


@pytest.mark.parametrize("failure", ["retry", "memory", "lost"])
def test_fault_of_the_machine_gets_its_attempts(tmp_path, failure):
    result, executor = scripted(plan_of(tmp_path, CHAIN, SHARDS), {("upper", "b"): [failure, failure]})
    assert result.ok
    tries = [
        (attempt, halvings)
        for stage, shard, attempt, halvings in executor.submitted
        if (stage, shard) == ("upper", "b")
    ]
    halved = failure != "retry"
    assert tries == [(1, 0), (2, 1 * halved), (3, 2 * halved)]


def test_shard_that_fails_every_attempt_is_named_and_others_continue(tmp_path):
    result, executor = scripted(plan_of(tmp_path, CHAIN, SHARDS), {("upper", "b"): ["lost"] * 3})
    assert not result.ok
    assert result.failures == {(1, "b"): "stage upper, shard b: scripted (attempt 3 of 3)"}
    assert result.stopped is None
    assert [(t.done, t.failed) for t in result.tallies] == [(3, 0), (2, 1), (2, 0)]
    assert result.num_left == 3
    assert executor.closed


def test_shard_that_cannot_be_done_is_not_tried_again(tmp_path):
    result, executor = scripted(plan_of(tmp_path, CHAIN, SHARDS), {("upper", "b"): ["shard"]})
    assert result.failures == {(1, "b"): "stage upper, shard b: scripted"}
    assert submitted(executor).count(("upper", "b")) == 1


def test_back_off_doubles_and_other_shards_are_not_held_up(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.build.attempts.BACKOFF_S", 0.05)
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    result, executor = scripted(plan, {("readlines", "a"): ["retry", "retry"]})
    assert result.ok
    assert result.elapsed_s >= 0.05 + 0.1
    order = submitted(executor)
    assert order.index(("pack", "c")) < len(order) - 1 - order[::-1].index(("readlines", "a"))


def test_worker_that_died_is_replaced_without_a_pause(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.build.attempts.BACKOFF_S", 60.0)
    result, _ = scripted(plan_of(tmp_path, CHAIN, SHARDS), {("upper", "a"): ["lost", "lost"]})
    assert result.ok
    assert result.elapsed_s < 30


def test_node_that_went_away_is_not_charged_to_the_shard(tmp_path):
    result, executor = scripted(plan_of(tmp_path, CHAIN, SHARDS), {("upper", "a"): ["preempted"] * 5})
    assert result.ok
    assert {attempt for stage, _, attempt, _ in executor.submitted if stage == "upper"} == {1}


def test_shard_whose_node_always_goes_away_fails_in_the_end(tmp_path):
    result, _ = scripted(plan_of(tmp_path, CHAIN, SHARDS), {("upper", "a"): ["preempted"] * 21})
    assert list(result.failures) == [(1, "a")]


def test_build_stops_when_too_many_shards_have_failed(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS, run_on=RunOn(max_failed_shards=2))
    result, executor = scripted(plan, {("readlines", s): ["shard"] for s in "abc"})
    assert result.stopped == "2 shards failed (max_failed_shards)"
    assert submitted(executor) == [("readlines", "a"), ("readlines", "b")]


def test_fault_that_no_shard_survives_stops_the_build_after_what_runs(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    result, executor = scripted(plan, {("readlines", "a"): ["stop"]}, width=2)
    assert result.stopped == "stage readlines, shard a: scripted"
    assert submitted(executor) == [("readlines", "a"), ("readlines", "b")]
    assert result.tallies[0].done == 1, "the shard in flight ended and counts"
    assert not result.failures


def test_interrupted_build_finishes_running_steps_and_can_resume(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    storage = Storage(plan.out)
    executor = Scripted(storage, width=2, on_submit=lambda task: build.interrupt() if task.stage == 1 else None)
    build = Build(plan, storage, executor, Log())
    result = build.run()
    assert result.interrupted
    assert not result.ok
    assert executor.running == []
    done = sum(t.done for t in result.tallies)
    assert done == len(executor.submitted)
    log = Log()
    assert run(plan, on_event=log).ok
    assert len(log.of("cached")) == done


def test_interrupt_while_the_executor_starts_ends_the_build_at_once(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    executor = Scripted(Storage(plan.out))
    build = Build(plan, Storage(plan.out), executor, Log())
    executor.start = lambda plan: build.interrupt()
    with pytest.raises(KeyboardInterrupt):
        build.run()
    assert executor.submitted == []


def test_workers_of_a_stage_are_capped(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), entry(Upper(), workers=2)], {n: ["x"] for n in "abcdef"})
    _, executor = scripted(plan, width=4)
    assert executor.most == {0: 4, 1: 2}


def test_without_a_cap_a_stage_takes_all_slots(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {n: ["x"] for n in "abcdef"})
    _, executor = scripted(plan, width=4)
    assert executor.most[0] == 4


def rebuild(plan):
    log = Log()
    result = run(plan, on_event=log)
    assert result.ok
    return sorted(log.of("started"))


def test_changed_input_is_done_again_with_all_that_depends_on_it(tmp_path):
    run(plan_of(tmp_path, CHAIN, SHARDS))
    changed = {**SHARDS, "b": ["two", "a new line"]}
    folder = tmp_path / "in"
    (folder / "b.lines").write_text("\n".join(changed["b"]))
    plan = make_plan(manifest_of(*CHAIN), str(tmp_path / "run"), [str(folder)])
    assert rebuild(plan) == [("pack", ALL_SHARDS), ("pack", "b"), ("readlines", "b"), ("upper", "b")]
    assert [r["source_caption"] for r in rows_of(plan, "upper", "b")] == ["TWO", "A NEW LINE"]


def test_equal_name_size_and_time_in_another_folder_is_another_input(tmp_path):
    import os

    for folder, line in (("x", "one"), ("y", "two")):
        write_shards(tmp_path / folder, {"a": [line]})
        os.utime(tmp_path / folder / "a.lines", (5, 5))
        plan = make_plan(manifest_of(ReadLines(), Upper()), str(tmp_path / "run"), [str(tmp_path / folder)])
        run(plan)
        assert [r["source_caption"] for r in rows_of(plan, "upper", "a")] == [line.upper()]


def test_input_read_again_without_change_leaves_later_stages_alone(tmp_path):
    import os

    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan)
    os.utime(tmp_path / "in/a.lines", (5, 5))
    plan = make_plan(manifest_of(*CHAIN), str(tmp_path / "run"), [str(tmp_path / "in")])
    assert rebuild(plan) == [("readlines", "a")]


def test_another_setting_gets_a_folder_next_to_the_old_one(tmp_path):
    first = plan_of(tmp_path, CHAIN, SHARDS)
    run(first)
    second = make_plan(
        manifest_of(ReadLines(), Upper(suffix="!"), Pack()), str(tmp_path / "run"), [str(tmp_path / "in")]
    )
    run(second)
    assert rows_of(first, "upper", "a")[0]["source_caption"] == "ONE"
    assert rows_of(second, "upper", "a")[0]["source_caption"] == "ONE!"
    assert rebuild(first) == [("pack", ALL_SHARDS)], "only dataset/ is put back"


def test_deleted_file_is_made_again(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan)
    (tmp_path / "run" / plan.stages[1].folder / "a.parquet").unlink()
    assert rebuild(plan) == [("upper", "a")]


@pytest.mark.parametrize("damage", [b"", b"not a record", b'{"shard": "a"}', b'{"shard": "a", "stage": "up', None])
def test_damaged_record_means_the_work_is_done_again(tmp_path, damage):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan)
    put_line(plan.out, plan.stages[1].folder, "a", damage)
    assert rebuild(plan) == [("upper", "a")]
    assert rebuild(plan) == []


def test_lost_records_of_a_stage_mean_that_all_its_work_is_done_again(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan)
    (tmp_path / "run" / plan.stages[1].folder / "records.jsonl").unlink()
    assert rebuild(plan) == [("upper", shard) for shard in SHARDS]


@pytest.mark.parametrize("lost", ["record", "file"])
def test_deleted_verdict_of_a_global_stage_is_made_again(tmp_path, lost):
    plan = plan_of(tmp_path, [ReadLines(), Best(), Upper()], SHARDS)
    run(plan)
    if lost == "record":
        remove_record(plan.out, plan.stages[1].folder, "a")
    else:
        (tmp_path / "run" / plan.stages[1].folder / "a.parquet").unlink()
    assert rebuild(plan) == [("best", ALL_SHARDS)]
    assert rebuild(plan) == []


def test_deleted_artifact_is_made_again(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words(), NumWords()], SHARDS)
    run(plan)
    (tmp_path / "run" / plan.stages[1].folder / "artifact/words.json").unlink()
    assert rebuild(plan) == [("words", ALL_SHARDS)]


def test_deleted_or_foreign_dataset_is_published_again(tmp_path):
    import shutil

    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan)
    shutil.rmtree(tmp_path / "run/dataset")
    assert rebuild(plan) == [("pack", ALL_SHARDS)]
    (tmp_path / "run/run/published.json").unlink()
    assert rebuild(plan) == [("pack", ALL_SHARDS)]


def test_changed_licence_reaches_the_published_card(tmp_path):
    run(plan_of(tmp_path, CHAIN, SHARDS))
    plan = make_plan(manifest_of(*CHAIN, license="mit"), str(tmp_path / "run"), [str(tmp_path / "in")])
    assert rebuild(plan) == [("pack", ALL_SHARDS)]
    assert json.loads((tmp_path / "run/dataset/about.json").read_text())["card"]["license"] == "mit"


def test_artifact_stage_that_no_stage_uses_is_in_the_report(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words(), Upper(), Pack()], SHARDS)
    log = Log()
    run(plan, on_event=log)
    assert log.of("done")[-2:] == [("words", ALL_SHARDS), ("pack", ALL_SHARDS)]
    assert rebuild(plan) == []


def test_rejects_of_an_earlier_input_do_not_reach_the_dataset(tmp_path):
    run(plan_of(tmp_path, CHAIN, {"a": ["one", "drop"]}))
    plan = plan_of(tmp_path, CHAIN, {"a": ["one", "two"]})
    assert run(plan).ok
    assert json.loads((tmp_path / "run/dataset/about.json").read_text())["rejects"] == []
    assert not (tmp_path / "run" / plan.stages[1].folder / "a.rejects.parquet").exists()


def test_more_shards_join_those_that_are_done(tmp_path):
    chain = [ReadLines(), Best(), Upper()]
    run(plan_of(tmp_path, chain, SHARDS, limit=1))
    plan = make_plan(manifest_of(*chain), str(tmp_path / "run"), [str(tmp_path / "in")])
    started = rebuild(plan)
    assert ("readlines", "a") not in started
    assert ("best", ALL_SHARDS) in started
    assert {r["duplicate_cluster_size"] for r in rows_of(plan, "best", "a")} == {5}


def test_rows_of_every_stage_are_accounted_for(tmp_path):
    plan = plan_of(
        tmp_path, [ReadLines(), Upper(), Best(), Twins(), Pack()], {**SHARDS, "d": ["lonely", "single", "boom"]}
    )
    result = run(plan)
    assert result.ok
    for tally in result.tallies:
        assert tally.rows_in == tally.rows_kept + sum(tally.rejects.values())
    for above, below in zip(result.tallies, result.tallies[1:], strict=False):
        assert above.rows_out == below.rows_in
    assert result.tallies[1].rejects == {"dropped": 1, "exception": 1}


class Losing(Scripted):
    """Loses the worker of ("upper", "a") at given rows, one (rows, is_overdue) an attempt, and then works."""

    def __init__(self, storage, losses):
        super().__init__(storage)
        self.losses, self.tasks = list(losses), []

    def wait(self, timeout_s):
        task = self.running[0]
        if (self.plan.stages[task.stage].name, task.shard) != ("upper", "a"):
            return super().wait(timeout_s)
        self.tasks.append(task)
        if not self.losses:
            return super().wait(timeout_s)
        at, is_overdue = self.losses.pop(0)
        self.running.pop(0)
        return [Outcome(task=task, failure="lost", message="lost", at=at, why="lost", is_overdue=is_overdue)]


@pytest.mark.parametrize(
    ("losses", "attempts"),
    [
        ([((0, 3), True), ((1, 2), True)], [1, 2, 1]),
        ([((0, 3), False), ((1, 2), False), ((1, 2), False)], [1, 2, 2, 1]),
        ([(None, False), ((0, 3), True), ((1, 2), True)], [1, 2, 3, 2]),
    ],
)
def test_row_that_loses_its_worker_alone_is_rejected_and_costs_no_attempt(tmp_path, losses, attempts):
    plan = plan_of(tmp_path, CHAIN, {"a": ["one", "two", "three"]}, run_on=RunOn(attempts=3))
    executor = Losing(Storage(plan.out), losses)
    result = run(plan, executor)
    assert result.ok
    assert [t.attempt for t in executor.tasks] == attempts
    assert result.tallies[1].rejects == {"worker_lost": 1}
    assert [r["source_caption"] for r in rows_of(plan, "upper", "a")] == ["ONE", "THREE"]


def test_worker_lost_at_other_rows_each_time_spends_the_attempts(tmp_path):
    plan = plan_of(tmp_path, CHAIN, {"a": ["one", "two", "three"]}, run_on=RunOn(attempts=3))
    result = run(plan, Losing(Storage(plan.out), [((n, n + 1), True) for n in range(3)]))
    assert list(result.failures.values()) == ["lost (attempt 3 of 3)"]


class Waits(Scripted):
    """Has no room at first."""

    def waiting(self):
        self.times = getattr(self, "times", 0) + 1
        return "no room for 15 s" if self.times < 3 else ""


def test_wait_for_room_is_reported_once(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    log = Log()
    assert run(plan, Waits(Storage(plan.out)), log).ok
    assert len(log.of("waiting")) == 1
