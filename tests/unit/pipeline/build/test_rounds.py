"""Stages in rounds: the same result for any cut into groups and parts, and after any failure or kill."""

import json
import uuid
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from _fakes import Log, Pack, ReadLines, Scripted, Upper, manifest_of, plan_of, rows_of, run, write_shards
from _fakes_over_shards import Pointer, Repeats, verdicts_of
from _records import records, remove_record, stage_folders

from pipeline.build.status import status
from pipeline.build.verify import verify
from pipeline.plan.manifest import RunOn
from pipeline.plan.plan import make_plan
from pipeline.rounds import Round, Rounds
from pipeline.run.task import run_name
from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import EXCHANGE, WHERE
from pipeline.store.storage import Storage

CHAIN = [ReadLines(), Upper(), Repeats(), Pointer(), Pack()]
SHARDS = {
    "a": ["one", "two a", "a worst"], "b": ["five", "two b", "three b"], "c": [], "d": ["worst", "three d"],
    "e": ["two e", "drop"], "f": ["six", "seven", "eight", "nine"],
}  # fmt: skip
STEPS = ["_0-00000", "_0-00001", "_1-00000", "_1-00001", "_1-00002", "_1-00003", "_2-00000", "_3-00000", "_3-00001"]
"""Steps of `Repeats` over `SHARDS` as the fixture below cuts them."""


@pytest.fixture(autouse=True)
def _few_rows_are_many(monkeypatch):
    """Four parts and two groups of shards for `SHARDS`."""
    monkeypatch.setattr("pipeline.plan.steps.ROWS_OF_ONE_PART", 1)
    monkeypatch.setattr("pipeline.plan.steps.groups", lambda num_shards, parts: [(0, 3), (3, num_shards)])
    monkeypatch.setattr("pipeline.build.schedule.groups", lambda num_shards, parts: [(0, 3), (3, num_shards)])
    monkeypatch.setattr("pipeline.build.attempts.BACKOFF_S", 0.001)


def without_dropped(shards):
    return {shard: [line for line in lines if "drop" not in line] for shard, lines in shards.items()}


def kept(plan, stage="repeats"):
    rows = {shard.name: rows_of(plan, stage, shard.name) for shard in plan.shards}
    captions = {shard: {r["sample_id"]: r["caption"] for r in rows_of(plan, "readlines", shard)} for shard in rows}
    return {
        shard: [(captions[shard][r["sample_id"]], r["duplicate_cluster_size"], r["turn"]) for r in found]
        for shard, found in rows.items()
    }


def all_rows(plan):
    return {(p.name, s.name): rows_of(plan, p.name, s.name) for p in plan.stages for s in plan.shards}


def rebuild(plan):
    """The steps that a build starts."""
    log = Log()
    assert run(plan, on_event=log).ok
    return sorted(log.of("started"))


def folder_of(plan, stage="repeats"):
    return next(p.folder for p in plan.stages if p.name == stage)


def check_whole(plan, expected):
    """Check that the run folder has the expected rows, agrees with itself, and keeps nothing of the rounds."""
    storage = Storage(plan.out)
    assert all_rows(plan) == expected
    assert verify(plan, storage, deep=True) == []
    assert status(plan, storage)["complete"]
    for folder in stage_folders(plan.out):
        assert EXCHANGE not in storage.folders(folder)
        assert [name for name in storage.sizes(folder) if name.startswith("records")] == ["records.jsonl"]


def test_verdicts_are_those_of_all_shards_together(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    result = run(plan)
    assert result.ok
    assert kept(plan) == verdicts_of(without_dropped(SHARDS))
    tally = result.tallies[2]
    assert (tally.done, tally.total, tally.rows_in, tally.rows_out) == (6, 6, 13, 11)
    assert tally.rejects == {"worst": 2}
    assert sorted(shard for _, shard in records(plan.out, "repeats")) == sorted([*STEPS, *SHARDS])
    assert rebuild(plan) == []


def test_counts_of_events_in_rounds_reach_the_summary(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    result = run(plan)
    assert result.tallies[2].notes == {"shards sent": 6}
    notes = [records(plan.out, "repeats")["repeats", step]["notes"] for step in STEPS]
    assert notes == [{"shards sent": 3}] * 2 + [{}] * 7


def test_rounds_follow_each_other_and_their_steps_run_side_by_side(tmp_path):
    executor = Scripted(Storage(str(tmp_path / "run")), width=10)
    assert run(plan_of(tmp_path, [ReadLines(), Repeats()], SHARDS), executor).ok
    steps = [shard for stage, shard, _, _ in executor.submitted if stage == "repeats"]
    assert steps == [*STEPS[:2], *(f"_1-{n:05d}" for n in range(4)), *STEPS[6:]]
    assert executor.most[1] == 4


@pytest.mark.parametrize(("rows_of_one_part", "group_size"), [(16_384, 64), (3, 1), (0.2, 7), (1, 40)])
def test_many_shards_give_the_same_however_they_are_cut(tmp_path, monkeypatch, rows_of_one_part, group_size):
    def cut(num_shards, parts):
        return list(pairwise([*range(0, num_shards, group_size), num_shards]))

    monkeypatch.setattr("pipeline.plan.steps.ROWS_OF_ONE_PART", rows_of_one_part)
    monkeypatch.setattr("pipeline.build.schedule.groups", cut)
    rng = np.random.default_rng(5)
    words = {f"{n:02d}": rng.integers(0, 60, rng.integers(0, 9)) for n in range(40)}
    lines = {shard: [f"{word} {shard} {n}" for n, word in enumerate(own)] for shard, own in words.items()}
    plan = plan_of(tmp_path, [ReadLines(), Repeats()], lines)
    assert run(plan).ok
    assert kept(plan) == verdicts_of(lines)


def test_remote_run_folder_gives_the_same_and_keeps_nothing_of_rounds(tmp_path):
    local = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(local).ok
    remote = replace(local, out=f"memory://{uuid.uuid4().hex}/run")
    assert run(remote).ok
    check_whole(remote, all_rows(local))
    assert rebuild(remote) == []


def test_stage_of_another_setting_has_rounds_of_its_own(tmp_path):
    run(plan_of(tmp_path, [ReadLines(), Repeats()], SHARDS))
    plan = make_plan(manifest_of(ReadLines(), Repeats(least=2)), str(tmp_path / "run"), [str(tmp_path / "in")])
    assert {stage for stage, _ in rebuild(plan)} == {"repeats"}
    assert len(stage_folders(plan.out, "repeats")) == 2


@pytest.mark.parametrize("failing", STEPS)
def test_step_that_failed_is_done_again_and_those_that_ended_are_not(tmp_path, failing):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan_of(tmp_path / "whole", CHAIN, SHARDS)).ok
    result = run(plan, Scripted(Storage(plan.out), {("repeats", failing): ["shard"]}, width=3))
    assert result.failures == {(2, failing): f"stage repeats, shard {failing}: scripted"}
    done = set(records(plan.out, "repeats"))
    same_round = {("repeats", step) for step in STEPS if step[:2] == failing[:2]}
    assert done & same_round == same_round - {("repeats", failing)}, "the others of its round ended"
    started = rebuild(plan)
    assert [step for step in started if step[0] == "repeats"] == [
        ("repeats", step) for step in STEPS if step == failing or step[:2] > failing[:2]
    ]
    check_whole(plan, all_rows(plan_of(tmp_path / "whole", CHAIN, SHARDS)))


@pytest.mark.parametrize("failing", ["_0-00000", "_0-00001", "_1-00001"])
def test_places_of_ids_that_were_found_are_not_found_again(tmp_path, failing):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    result = run(plan, Scripted(Storage(plan.out), {("pointer", failing): ["shard"]}, width=3))
    assert list(result.failures) == [(3, failing)]
    left = {"_0-00000", "_0-00001", "_1-00000", "_1-00001", "_1-00002", "_1-00003"}
    found = {shard for _, shard in records(plan.out, "pointer") if shard[0] == "_"}
    started = {shard for stage, shard in rebuild(plan) if stage == "pointer" and shard[0] == "_"}
    assert started == left - found
    assert failing in started
    assert [row["target_caption"] for row in rows_of(plan, "pointer", "a")] == ["five/FIVE", "one/ONE"]


def test_step_is_tried_again_and_leaves_rows_once(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS, run_on=RunOn(attempts=3))
    script = {("repeats", step): ["lost", "retry"] for step in STEPS}
    result = run(plan, Scripted(Storage(plan.out), script, width=2))
    assert result.ok
    assert kept(plan) == verdicts_of(without_dropped(SHARDS))


def changed(tmp_path, **shards):
    write_shards(tmp_path / "in", shards)
    return make_plan(manifest_of(*CHAIN), str(tmp_path / "run"), [str(tmp_path / "in")])


def test_changed_input_has_all_rounds_done_again(tmp_path):
    assert run(plan_of(tmp_path, CHAIN, SHARDS)).ok
    shards = {**SHARDS, "d": ["three d", "four", "two d"]}
    plan = changed(tmp_path, **shards)
    started = rebuild(plan)
    assert [step for stage, step in started if stage == "repeats"] == STEPS
    assert [step for stage, step in started if stage == "upper"] == ["d"]
    assert kept(plan) == verdicts_of(without_dropped(shards))
    expected = plan_of(tmp_path / "new", CHAIN, shards)
    assert run(expected).ok
    check_whole(plan, all_rows(expected))


def test_what_was_sent_for_an_earlier_input_is_not_received(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan, Scripted(Storage(plan.out), {("repeats", "_1-00002"): ["shard"]}, width=3))
    [left] = Storage(plan.out).folders(f"{folder_of(plan)}/{EXCHANGE}")
    shards = {**SHARDS, "d": ["three d", "four", "two d"]}
    plan = changed(tmp_path, **shards)
    seen = []
    executor = Scripted(Storage(plan.out), width=3)
    executor.on_submit = lambda task: seen.append(
        (task.stage, run_name(task.input_digest), Storage(plan.out).folders(f"{folder_of(plan)}/{EXCHANGE}"))
    )
    assert run(plan, executor).ok
    assert len({own for stage, own, _ in seen if stage == 2} - {left}) == 1
    assert [folders for stage, own, folders in seen if stage == 2 and not set(folders) <= {own}] == []
    assert kept(plan) == verdicts_of(without_dropped(shards))
    earlier = changed(tmp_path, **SHARDS)
    assert run(earlier).ok
    assert kept(earlier) == verdicts_of(without_dropped(SHARDS))


def test_fewer_rows_leave_no_part_of_an_earlier_input(tmp_path):
    assert run(plan_of(tmp_path, CHAIN, SHARDS)).ok
    plan = changed(tmp_path, **{shard: [] for shard in SHARDS} | {"a": ["one", "five"]})
    assert run(plan).ok
    assert sorted(Storage(plan.out).sizes(f"{folder_of(plan, 'pointer')}/{WHERE}/0")) == ["00000.npy", "00001.npy"]
    assert [row["target_caption"] for row in rows_of(plan, "pointer", "a")] == ["five/FIVE", "one/ONE"]


def test_rejects_of_an_earlier_verdict_are_gone(tmp_path):
    assert run(plan_of(tmp_path, CHAIN, SHARDS)).ok
    plan = changed(tmp_path, **{**SHARDS, "a": ["one", "two a"], "d": ["three d"]})
    assert run(plan).ok
    assert [name for name in Storage(plan.out).sizes(folder_of(plan)) if "rejects" in name] == []
    assert json.loads((tmp_path / "run/dataset/about.json").read_text())["rejects"] == [
        row | {"shard": "e", "stage": "upper"} for row in rows_of(plan, "upper", "e", ".rejects.parquet")
    ]


@pytest.mark.parametrize(
    ("lost", "group"), [("a", "_3-00000"), ("f", "_3-00001"), ("_3-00001", "_3-00001"), ("record of a", "_3-00000")]
)
def test_lost_verdict_is_made_again_from_the_start(tmp_path, lost, group):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan).ok
    expected = all_rows(plan)
    if lost in SHARDS:
        (tmp_path / "run" / folder_of(plan) / f"{lost}.parquet").unlink()
    else:
        remove_record(plan.out, folder_of(plan), lost.rpartition(" ")[2])
    nothing_sent = "_1-00002"
    wanted = [step for step in STEPS if step[1] in "012" and step != nothing_sent] + [group]
    assert [step for stage, step in rebuild(plan) if stage == "repeats"] == wanted
    check_whole(plan, expected)
    assert rebuild(plan) == []


@pytest.mark.parametrize("part", range(4))
def test_lost_part_of_the_places_is_made_again_with_the_others(tmp_path, part):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan).ok
    expected, folder = all_rows(plan), tmp_path / "run" / folder_of(plan, "pointer")
    before = {path.name: path.read_bytes() for path in (folder / WHERE / "1").iterdir()}
    (folder / WHERE / "1" / f"{part:05d}.npy").unlink()
    (folder / "a.parquet").unlink()
    started = rebuild(plan)
    assert ("pointer", f"_1-{part:05d}") in started
    assert ("pointer", "a") in started
    assert {path.name: path.read_bytes() for path in (folder / WHERE / "1").iterdir()} == before
    check_whole(plan, expected)


def test_status_counts_shards_of_a_stage_in_rounds(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    storage = Storage(plan.out)
    result = run(plan, Scripted(Storage(plan.out), {("repeats", "_3-00001"): ["shard"]}, width=3))
    assert not result.ok
    assert [stage["done"] for stage in status(plan, storage)["stages"]] == [6, 6, 3, 3, 3]
    assert [tally.done for tally in result.tallies] == [6, 6, 3, 3, 3]
    assert run(plan).ok
    found = status(plan, storage)
    assert [(stage["done"], stage["total"]) for stage in found["stages"]] == [(6, 6), (6, 6), (6, 6), (6, 6), (7, 7)]
    assert found["stages"][2]["rejects"] == {"worst": 2}


def test_verify_names_verdicts_of_an_earlier_input(tmp_path):
    assert run(plan_of(tmp_path, CHAIN, SHARDS)).ok
    plan = changed(tmp_path, **{**SHARDS, "d": ["three d", "four", "two d"]})
    run(plan, Scripted(Storage(plan.out), {("repeats", "_0-00000"): ["shard"]}))
    wrong = verify(plan, Storage(plan.out), deep=False)
    assert "stage repeats, shard a: made from an earlier input; build again" in wrong
    assert "stage upper, shard d: made from an earlier input; build again" not in wrong


def test_verify_finds_no_fault_in_verdicts_of_an_unfinished_round(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan, Scripted(Storage(plan.out), {("repeats", "_3-00001"): ["shard"]}))
    wrong = verify(plan, Storage(plan.out), deep=True)
    assert [line for line in wrong if "stage repeats" in line] == [
        f"stage repeats, shard {shard}: no record" for shard in "def"
    ]


def test_verify_looks_at_the_places_of_gathered_rows(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan).ok
    path = tmp_path / "run" / folder_of(plan, "pointer") / WHERE / "1" / "00002.npy"
    right = path.read_bytes()
    path.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
    assert verify(plan, Storage(plan.out), deep=False) == []
    assert verify(plan, Storage(plan.out), deep=True) == [
        "stage pointer: where/1/00002.npy is not what was written (sha256 differs)"
    ]
    path.unlink()
    gone = "stage pointer: the places of the rows that it gathers are not there, or out of date; build again"
    assert verify(plan, Storage(plan.out), deep=False) == [gone]
    assert not status(plan, Storage(plan.out))["complete"]
    assert run(plan).ok
    assert path.read_bytes() == right
    assert verify(plan, Storage(plan.out), deep=True) == []


class Miscounts(Repeats):
    def open(self, ctx):
        rounds = super().open(ctx)
        return Rounds(
            rounds=rounds.rounds, judge_receives=rounds.judge_receives,
            judge=lambda *given: rounds.judge(*given).slice(1),
        )  # fmt: skip


def test_verdict_of_other_rows_stops_the_build(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Miscounts()], SHARDS)
    assert run(plan).stopped == (
        "stage miscounts, shard _3-00000: stage miscounts, shard a: 3 rows in, 2 verdicts"
    )  # fmt: skip


class Killed(BaseException):
    """The process ends here."""


def kill_at(patch, number, *, is_after):
    """End at the `number`-th change of a file in the run folder, before or after it. Returns those counted."""
    seen = []
    for name in ("publish", "remove"):
        real = getattr(Storage, name)

        def counted(self, *given, real=real, **how):
            seen.append(given[-1])
            if len(seen) == number and not is_after:
                raise Killed
            real(self, *given, **how)
            if len(seen) == number:
                raise Killed

        patch.setattr(Storage, name, counted)
    return seen


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Rows of all stages, and the number of changes of files, of a build that nobody disturbs."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.plan.steps.ROWS_OF_ONE_PART", 1)
        patch.setattr("pipeline.build.schedule.groups", lambda num_shards, parts: [(0, 3), (3, num_shards)])
        seen = kill_at(patch, 0, is_after=False)
        plan = plan_of(folder, CHAIN, SHARDS)
        assert run(plan).ok
        num_changes = len(seen)
    return all_rows(plan), num_changes


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("first", range(1, 9))
def test_build_killed_at_any_change_resumes_to_the_same(tmp_path, undisturbed, first, is_after):
    expected, num_changes = undisturbed
    assert num_changes > 60
    for number in range(first, num_changes + 1, 24 if is_after else 16):
        plan = plan_of(tmp_path / str(number), CHAIN, SHARDS)
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, number, is_after=is_after)
            with pytest.raises(Killed):
                run(plan, Scripted(Storage(plan.out), width=3))
        done = {step for step in records(plan.out) if step[1] != ALL_SHARDS}
        started = rebuild(plan)
        again = {step for step in started if step in done}
        assert again == set(), number
        check_whole(plan, expected)


@pytest.mark.parametrize("first", range(3, 11))
def test_remote_build_killed_at_any_change_resumes_to_the_same(tmp_path, monkeypatch, undisturbed, first):
    now = iter(range(10**6))
    monkeypatch.setattr("pipeline.store.record_log.time.monotonic", lambda: float(next(now)))
    expected, num_changes = undisturbed
    local = plan_of(tmp_path, CHAIN, SHARDS)
    for number in range(first, num_changes, 24):
        plan = replace(local, out=f"memory://{uuid.uuid4().hex}/run")
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, number, is_after=first % 2 == 0)
            with pytest.raises(Killed):
                run(plan, Scripted(Storage(plan.out), width=3))
        done = {step for step in records(plan.out) if step[1] != ALL_SHARDS}
        assert {step for step in rebuild(plan) if step in done} == set(), number
        check_whole(plan, expected)


def test_build_killed_again_and_again_ends_the_same(tmp_path, undisturbed):
    expected, _ = undisturbed
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    kills = 0
    for number in (7, 3, 11, 2, 5, 13, 4, 6, 9, 8, 3, 10, 5, 7, 12):
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, number, is_after=number % 2 == 1)
            try:
                run(plan, Scripted(Storage(plan.out), width=3))
            except Killed:
                kills += 1
    assert kills > 8
    assert run(plan).ok
    check_whole(plan, expected)


class Silent(Repeats):
    """As `Repeats`, with a round before the verdict that sends nothing."""

    def open(self, ctx):
        rounds = super().open(ctx)
        silent = Round(name="silent", over="parts", receives=(), run=lambda given, send: None)
        return Rounds(rounds=(*rounds.rounds, silent), judge=rounds.judge, judge_receives=rounds.judge_receives)


def test_lost_verdict_behind_a_silent_round_is_made_from_what_all_send(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Silent(), Pack()], SHARDS)
    assert run(plan).ok
    expected = all_rows(plan)
    (tmp_path / "run" / folder_of(plan, "silent") / "a.parquet").unlink()
    assert {step[:2] for stage, step in rebuild(plan) if stage == "silent"} == {"_0", "_1", "_2", "_4"}
    assert all_rows(plan) == expected


def test_sent_rows_that_are_lost_in_between_are_sent_again(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    run(plan, Scripted(Storage(plan.out), {("repeats", "_3-00001"): ["shard"]}, width=3))
    [sent] = (tmp_path / "run" / folder_of(plan) / EXCHANGE).rglob("words/_0-00000.blocks")
    sent.unlink()
    assert ("repeats", "_0-00000") in rebuild(plan)
    assert kept(plan) == verdicts_of(without_dropped(SHARDS))
