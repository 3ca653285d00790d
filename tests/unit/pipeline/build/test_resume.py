from dataclasses import replace
from pathlib import Path

import pytest
from _fakes import Best, Pack, ReadLines, Upper, plan_of, run

from pipeline.build.resume import DoneSteps
from pipeline.build.status import status
from pipeline.build.verify import verify
from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import RunFolder
from pipeline.store.storage import Storage

CHAIN = [ReadLines(), Upper(), Best(), Pack()]
SHARDS = {"a": ["one", "drop it"], "b": ["two", "worst"]}


@pytest.fixture
def built(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan).ok
    return plan, Storage(plan.out)


def test_every_step_of_a_finished_build_is_done(built):
    plan, storage = built
    done = DoneSteps(plan, RunFolder(storage)).all()
    assert {(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, ALL_SHARDS), (3, "a"), (3, "b"), (3, ALL_SHARDS)} <= set(done)


def test_a_changed_input_leaves_only_what_does_not_depend_on_it(built):
    plan, storage = built
    Path(plan.shard("b").uri).write_text("three\n")
    shards = tuple(plan.stages[0].stage.list_shards([s.uri for s in plan.shards]))
    plan = replace(plan, shards=shards)
    done = DoneSteps(plan, RunFolder(storage)).all()
    assert set(done) == {(0, "a"), (1, "a")}
    report = status(plan, storage)
    assert report["complete"] is False
    assert [s["done"] for s in report["stages"]] == [1, 1, 0, 0]
    assert "stage readlines, shard b: made from an earlier input; build again" in verify(plan, storage, deep=False)


def test_a_dataset_that_was_deleted_is_not_complete(built):
    plan, storage = built
    storage.remove("dataset")
    assert status(plan, storage)["complete"] is False
    assert run(plan).ok
    assert status(plan, storage)["complete"] is True
