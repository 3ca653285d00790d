import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from _fakes import Best, Log, Pack, ReadLines, Scripted, Upper, plan_of, rows_of, run

from core.errors import LockedError, PlanError, RunStopped
from pipeline.build.session import build_summary, mark_retries, run_build, write_report
from pipeline.store.lock import hold, read_holder
from pipeline.store.storage import Storage

CHAIN = [ReadLines(), Upper(), Pack()]
SHARDS = {"a": ["one", "drop"], "b": ["two"]}


def build(plan, **how):
    storage = Storage(plan.out)
    return run_build(plan, storage, executor="inprocess", quiet=True, **how)


def summarised(plan):
    return build_summary(plan, build(plan))


def test_summary_of_a_finished_build_points_to_the_dataset(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    summary = summarised(plan)
    assert summary["ok"] is True
    assert summary["dataset"] == f"{plan.out}/dataset"
    assert summary["nothing_to_do"] is False
    assert (summary["failures"], summary["stopped"], summary["steps_left"]) == ([], None, 0)
    assert [(s["stage"], s["rows_in"], s["rows_out"]) for s in summary["stages"]] == [
        ("readlines", 3, 3), ("upper", 3, 2), ("pack", 2, 2),
    ]  # fmt: skip
    assert summary["stages"][1]["rejects"] == {"dropped": 1}
    json.dumps(summary)


def test_summary_of_a_second_build_says_that_nothing_was_to_do(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    build(plan)
    summary = summarised(plan)
    assert summary["nothing_to_do"] is True
    assert [s["cached"] for s in summary["stages"]] == [2, 2, 3]
    assert [(s["rows_in"], s["rows_out"]) for s in summary["stages"]] == [(3, 3), (3, 2), (2, 2)]


def test_summary_of_a_failed_build_names_stage_shard_and_cause(tmp_path):
    plan = plan_of(tmp_path, CHAIN, {**SHARDS, "c": ["boom 1", "boom 2"]})
    summary = summarised(plan)
    assert summary["ok"] is False
    assert summary["dataset"] is None
    [failure] = summary["failures"]
    assert (failure["stage"], failure["shard"]) == ("upper", "c")
    assert failure["cause"].startswith("stage upper, shard c: failed on 2 rows")
    assert summary["steps_left"] == 3


def test_chain_without_a_sink_promises_no_dataset(tmp_path):
    summary = summarised(plan_of(tmp_path, [ReadLines(), Upper()], SHARDS))
    assert summary["ok"] is True
    assert summary["dataset"] is None


def test_build_leaves_plan_and_events_and_no_lock_or_temporary_files(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    build(plan)
    out = tmp_path / "run"
    assert sorted(p.name for p in out.iterdir()) == ["dataset", "run", "stages"]
    names = sorted(p.name for p in (out / "run").iterdir())
    assert names[1:] == ["plan.json", "published.json"]
    recorded = json.loads((out / "run/plan.json").read_text())
    assert [s["fingerprint"] for s in recorded["stages"]] == [s.fingerprint for s in plan.stages]
    events = [json.loads(line) for line in (out / "run" / names[0]).read_text().splitlines()]
    assert [e["event"] for e in events[:2]] == ["build_started", "executor_starting"]
    assert events[-1]["event"] == "build_ended"
    assert events[-1]["ok"] is True
    assert {"stage": "upper", "shard": "a"}.items() <= next(
        e for e in events if e["event"] == "done" and e["stage"] == "upper"
    ).items()


def test_folder_in_use_is_refused_and_left_as_it_is(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    with hold(Storage(plan.out)), pytest.raises(LockedError):
        build(plan)
    assert not (tmp_path / "run/stages").exists()


def test_inprocess_executor_has_no_workers_to_choose(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    with pytest.raises(PlanError, match=r"^the inprocess executor has one worker and no address; use --executor ray$"):
        build(plan, workers=4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_drains_and_the_next_build_goes_on(tmp_path, monkeypatch, number):
    plan = plan_of(tmp_path, CHAIN, SHARDS)

    def at_upper(task):
        if task.stage == 1:
            signal.raise_signal(number)

    monkeypatch.setattr(
        "pipeline.build.session._executor", lambda name, storage, *_: Scripted(storage, on_submit=at_upper)
    )
    before = signal.getsignal(number)
    result = build(plan)
    assert signal.getsignal(number) is before
    summary = build_summary(plan, result)
    assert summary["interrupted"] is True
    assert summary["ok"] is False
    assert [s["done"] for s in summary["stages"]] == [1, 1, 0], "the shard in flight ended, no other was begun"
    monkeypatch.undo()
    assert summarised(plan)["stages"][0]["cached"] == 1


def test_second_signal_leaves_at_once_and_frees_the_folder(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, CHAIN, SHARDS)

    def twice(task):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(
        "pipeline.build.session._executor", lambda name, storage, *_: Scripted(storage, on_submit=twice)
    )
    with pytest.raises(KeyboardInterrupt):
        build(plan)
    assert read_holder(Storage(plan.out)) is None
    assert not (tmp_path / "run/tmp").exists()


def test_what_a_killed_run_left_behind_is_cleared(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    (tmp_path / "run/tmp/dead").mkdir(parents=True)
    (tmp_path / "run/tmp/dead/half").write_bytes(b"x")
    build(plan)
    assert not (tmp_path / "run/tmp").exists()


def test_report_is_written_again_beside_the_dataset(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    build(plan)
    written = write_report(plan, Storage(plan.out), tmp_path / "report")
    assert [p.name for p in written] == ["about.json", "shards.json"]
    for path in written:
        assert path.read_bytes() == (tmp_path / "run/dataset" / path.name).read_bytes()


def test_report_of_an_unfinished_build_is_refused(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    with pytest.raises(RunStopped) as caught:
        write_report(plan, Storage(plan.out), tmp_path / "report")
    assert str(caught.value) == f"{plan.out} is not a finished build: stage readlines, shard a: no record"


def test_report_of_a_chain_without_a_dataset_is_refused(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Best()], SHARDS)
    with pytest.raises(PlanError, match="does not end in a stage that emits a dataset"):
        write_report(plan, Storage(plan.out), tmp_path / "report")


def test_build_into_a_remote_folder_gives_the_same_dataset(tmp_path):
    from dataclasses import replace

    local = plan_of(tmp_path, CHAIN, SHARDS)
    remote = replace(local, out=f"memory://{tmp_path.name}/run")
    assert build(local).ok
    assert build(remote).ok
    here, there = Storage(local.out), Storage(remote.out)
    assert here.sizes("dataset").keys() == there.sizes("dataset").keys()
    for name in here.sizes("dataset"):
        if name != "about.json":
            assert here.read_bytes(f"dataset/{name}")[:512] == there.read_bytes(f"dataset/{name}")[:512]
    assert summarised(remote)["nothing_to_do"] is True


def test_trial_run_does_not_replace_a_larger_build(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    build(plan)
    first = plan.shards[:1]
    trial = replace(plan, shards=first, shard_index={first[0].name: 0}, is_limited=True)
    with pytest.raises(PlanError, match="holds a build of 2 shards, which --limit 1 would replace"):
        build(trial)
    build(replace(trial, out=str(tmp_path / "trial")))


class Fetch(ReadLines):
    """Lines with 'unusable' in them fail until the store has a marker for their shard."""

    retryable: ClassVar = frozenset({"unusable"})

    def open(self, ctx):
        read = super().open(ctx)

        def fetch(shard):
            with ctx.store.fetch(f"{shard.name}.retry") as marker:
                if marker is not None:
                    Path(shard.uri).write_text("mended\nfine", encoding="utf-8")
                    ctx.store.remove(f"{shard.name}.retry")
            return read(shard)

        return fetch


def test_retry_has_only_the_shards_with_failures_done_again(tmp_path):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"a": ["one"], "b": ["unusable", "fine"]})
    assert run(plan).ok
    storage = Storage(plan.out)
    assert mark_retries(plan, storage) == {"b": 1}
    log = Log()
    assert run(plan, listen=log).ok
    assert log.of("done") == [("fetch", "b"), ("upper", "b")]
    assert [row["source_caption"] for row in rows_of(plan, "upper", "b")] == ["MENDED", "FINE"]
    assert mark_retries(plan, storage) == {}


def test_retry_of_a_source_that_fetches_nothing_is_refused(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()])
    with pytest.raises(PlanError, match="source readlines fetches nothing, so there is nothing to try again"):
        mark_retries(plan, Storage(plan.out))


def test_retry_of_everything_after_a_retry_asks_for_everything(tmp_path):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"a": ["one"], "b": ["unusable", "fine"]})
    assert run(plan).ok
    storage = Storage(plan.out)
    assert mark_retries(plan, storage) == {"b": 1}
    assert mark_retries(plan, storage, everything=True) == {"b": 1}
    assert storage.read_bytes(f"{plan.stages[0].folder}/store/b.retry") == b"all"
    assert mark_retries(plan, storage) == {"b": 1}
    assert storage.read_bytes(f"{plan.stages[0].folder}/store/b.retry") == b"all", "the larger wish stands"


def test_retry_twice_before_a_build_says_how_much_is_marked(tmp_path):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"a": ["one"], "b": ["unusable 1", "unusable 2", "fine"]})
    assert run(plan).ok
    storage = Storage(plan.out)
    assert mark_retries(plan, storage) == {"b": 2}
    assert mark_retries(plan, storage) == {"b": 2}
    assert run(plan).ok
    assert mark_retries(plan, storage) == {}


def test_retry_of_everything_leaves_out_what_is_final(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [Fetch(), Upper()], {"b": ["unusable", "fine"]})
    assert run(plan).ok
    monkeypatch.setattr(Fetch, "final", frozenset({"unusable"}))
    assert mark_retries(plan, Storage(plan.out), everything=True) == {}
