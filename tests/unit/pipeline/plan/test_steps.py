import pytest
from _fakes import Best, Join, NumWords, Pack, ReadLines, Twins, Upper, Words, plan_of

from core.licences.uses import Role
from pipeline.plan.manifest import StatedLicences
from pipeline.plan.steps import groups, input_digest, num_parts, steps
from pipeline.store.records import ALL_SHARDS

SHARDS = {"a": ["one"], "b": ["two"]}


def keys_of(plan, stages):
    return {(s.index, n): f"{s.name} {n}" for s in plan.stages[:stages] for n in ("a", "b", ALL_SHARDS)}


def test_global_stages_and_sinks_have_a_step_over_all_shards(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Best(), Upper(), Pack()], SHARDS)
    assert list(steps(plan)) == [
        (0, "a"), (0, "b"), (1, ALL_SHARDS), (2, "a"), (2, "b"), (3, "a"), (3, "b"), (3, ALL_SHARDS),
    ]  # fmt: skip


def test_digest_changes_with_the_output_of_any_stage_that_is_read(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Twins(), Join()], SHARDS)
    outputs = keys_of(plan, 3)
    base = input_digest(plan, (3, "a"), outputs)
    for provider in (0, 1, 2):
        changed = outputs | {(provider, "a"): "other"}
        assert input_digest(plan, (3, "a"), changed) != base, plan.stages[provider].name
    assert input_digest(plan, (3, "a"), outputs | {(2, "b"): "other"}) == base


def test_digest_of_a_source_depends_on_the_input_and_the_row_limit(tmp_path):
    from dataclasses import replace

    plan = plan_of(tmp_path, [ReadLines()], SHARDS)
    base = input_digest(plan, (0, "a"), {})
    assert input_digest(replace(plan, row_limit=3), (0, "a"), {}) != base
    other = replace(plan.shards[0], identity="other")
    assert input_digest(replace(plan, shards=(other, plan.shards[1])), (0, "a"), {}) != base


def test_digest_of_a_global_stage_depends_on_every_shard(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Best()], SHARDS)
    outputs = keys_of(plan, 1)
    base = input_digest(plan, (1, ALL_SHARDS), outputs)
    for shard in ("a", "b"):
        assert input_digest(plan, (1, ALL_SHARDS), outputs | {(0, shard): "other"}) != base


def test_digest_of_a_stage_depends_on_the_artifact_it_reads(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words(), NumWords()], SHARDS)
    outputs = keys_of(plan, 2)
    base = input_digest(plan, (2, "a"), outputs)
    assert input_digest(plan, (2, "a"), outputs | {(1, ALL_SHARDS): "other"}) != base


def test_digest_of_the_dataset_depends_on_all_before_and_on_the_card(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Pack()], SHARDS)
    outputs = keys_of(plan, 3)
    base = input_digest(plan, (2, ALL_SHARDS), outputs)
    assert input_digest(plan, (2, ALL_SHARDS), outputs | {(0, "a"): "other"}) != base
    assert input_digest(plan, (2, ALL_SHARDS), outputs | {(2, ALL_SHARDS): "other"}) == base
    licensed = plan_of(tmp_path, [ReadLines(), Upper(), Pack()], SHARDS, license="mit")
    assert input_digest(licensed, (2, ALL_SHARDS), outputs) != base
    with monkeypatch.context() as patched:
        patched.setattr(Upper, "model_roles", lambda _: {"zoo:a": Role.MAKES})
        assert input_digest(plan, (2, ALL_SHARDS), outputs) != base
    stated = plan_of(tmp_path, [ReadLines(), Upper(), Pack()], SHARDS, stated_licences=StatedLicences(input="mit"))
    assert input_digest(stated, (2, ALL_SHARDS), outputs) != base
    assert input_digest(stated, (1, "a"), outputs) == input_digest(licensed, (1, "a"), outputs)


@pytest.mark.parametrize(("rows", "parts"), [(0, 1), (4096, 1), (4097, 2), (1_000_000, 16), (10**9, 495)])
def test_parts_grow_with_the_root_of_the_rows(rows, parts):
    assert num_parts(rows) == parts


@pytest.mark.parametrize(("shards", "parts"), [(1, 1), (3, 8), (8, 1), (100, 3), (1000, 8), (10_001, 495)])
def test_groups_cover_all_shards_once_and_in_order(shards, parts):
    found = groups(shards, parts)
    assert [n for first, last in found for n in range(first, last)] == list(range(shards))
    assert all(0 < last - first <= 64 for first, last in found)
    assert len(found) >= min(parts, shards)
