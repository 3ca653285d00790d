import json
import signal
from dataclasses import replace

import pytest
from _fakes import Pack, ReadLines, Scripted, Upper, build_in_process, plan_of, summarised

from core.errors import LockedError, PlanError
from pipeline.build.summary import build_summary
from pipeline.store.lock import hold, read_holder
from pipeline.store.storage import Storage

CHAIN = [ReadLines(), Upper(), Pack()]
SHARDS = {"a": ["one", "drop"], "b": ["two"]}


def test_build_leaves_plan_and_events_and_no_lock_or_temporary_files(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    build_in_process(plan)
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
        build_in_process(plan)
    assert not (tmp_path / "run/stages").exists()


def test_inprocess_executor_has_no_workers_to_choose(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    with pytest.raises(PlanError, match=r"^the inprocess executor has one worker and no address; use --executor ray$"):
        build_in_process(plan, workers=4)


def scripted(on_submit):
    return lambda name, plan, storage, *_: Scripted(storage, on_submit=on_submit)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_lets_steps_finish_and_the_next_build_resumes(tmp_path, monkeypatch, number):
    plan = plan_of(tmp_path, CHAIN, SHARDS)

    def at_upper(task):
        if task.stage == 1:
            signal.raise_signal(number)

    monkeypatch.setattr("pipeline.build.run._executor", scripted(at_upper))
    before = signal.getsignal(number)
    result = build_in_process(plan)
    assert signal.getsignal(number) is before
    summary = build_summary(result)
    assert summary["interrupted"] is True
    assert summary["ok"] is False
    assert [s["done"] for s in summary["stages"]] == [1, 1, 0], "the shard in flight ended, no other was begun"
    monkeypatch.undo()
    assert summarised(plan)["stages"][0]["cached"] == 1


def test_second_signal_ends_at_once_and_releases_the_lock(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, CHAIN, SHARDS)

    def twice(task):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("pipeline.build.run._executor", scripted(twice))
    with pytest.raises(KeyboardInterrupt):
        build_in_process(plan)
    assert read_holder(Storage(plan.out)) is None
    assert not (tmp_path / "run/tmp").exists()


def test_next_build_removes_files_of_a_killed_run(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    (tmp_path / "run/tmp/dead").mkdir(parents=True)
    (tmp_path / "run/tmp/dead/half").write_bytes(b"x")
    build_in_process(plan)
    assert not (tmp_path / "run/tmp").exists()


def test_build_into_a_remote_folder_gives_the_same_dataset(tmp_path):
    local = plan_of(tmp_path, CHAIN, SHARDS)
    remote = replace(local, out=f"memory://{tmp_path.name}/run")
    assert build_in_process(local).ok
    assert build_in_process(remote).ok
    here, there = Storage(local.out), Storage(remote.out)
    assert here.sizes("dataset").keys() == there.sizes("dataset").keys()
    for name in here.sizes("dataset"):
        if name != "about.json":
            assert here.read_bytes(f"dataset/{name}")[:512] == there.read_bytes(f"dataset/{name}")[:512]
    assert summarised(remote)["nothing_to_do"] is True


def test_trial_run_does_not_replace_a_larger_build(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    build_in_process(plan)
    first = plan.shards[:1]
    trial = replace(plan, shards=first, is_limited=True)
    with pytest.raises(PlanError, match="holds a build of 2 shards, which --limit 1 would replace"):
        build_in_process(trial)
    build_in_process(replace(trial, out=str(tmp_path / "trial")))
