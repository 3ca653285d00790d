import json
from dataclasses import replace

import pytest
from _fakes import ReadLines, Upper, plan_of

from core.errors import PlanError
from pipeline.build.plan_file import refuse_to_shrink, write_plan
from pipeline.store.storage import Storage


@pytest.fixture
def plan(tmp_path):
    return plan_of(tmp_path, [ReadLines(), Upper()], {"a": ["one"], "b": ["two"]})


def first_shard_of(plan, *, is_limited):
    shard = plan.shards[0]
    return replace(plan, shards=(shard,), is_limited=is_limited)


def test_plan_file_lists_stages_and_shards(plan, tmp_path):
    write_plan(plan, Storage(plan.out))
    written = json.loads((tmp_path / "run/run/plan.json").read_text())
    assert [stage["fingerprint"] for stage in written["stages"]] == [stage.fingerprint for stage in plan.stages]
    assert [shard["name"] for shard in written["shards"]] == ["a", "b"]


def test_limit_below_the_shards_of_the_earlier_build_is_refused(plan):
    write_plan(plan, Storage(plan.out))
    with pytest.raises(PlanError, match="holds a build of 2 shards, which --limit 1 would replace"):
        refuse_to_shrink(first_shard_of(plan, is_limited=True), Storage(plan.out))


def test_fewer_inputs_without_a_limit_are_allowed(plan):
    write_plan(plan, Storage(plan.out))
    refuse_to_shrink(first_shard_of(plan, is_limited=False), Storage(plan.out))


def test_first_build_and_unreadable_plan_are_allowed(plan):
    trial, storage = first_shard_of(plan, is_limited=True), Storage(plan.out)
    refuse_to_shrink(trial, storage)
    storage.write_bytes("run/plan.json", b"{")
    refuse_to_shrink(trial, storage)
