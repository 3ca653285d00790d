"""Portions of the input: their sizes, and builds that end when their quota is met."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from _fakes import Pack, ReadLines, Upper, build_in_process, plan_of, run, summarised
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PlanError
from pipeline.build.portions import build_portions
from pipeline.build.quota import QUOTA, next_portion, portion_of, within_quota
from pipeline.build.status import status
from pipeline.build.summary import build_summary
from pipeline.build.verify import verify
from pipeline.store.storage import Storage
from stages.take_rows import TakeRows

SHARDS = {f"{number:02d}": [f"line {number} {row}" for row in range(3)] for number in range(12)}


def plan(tmp_path, target_rows, **how):
    return plan_of(tmp_path, [ReadLines(), Upper(), TakeRows(target_rows=target_rows), Pack()], SHARDS, **how)


@pytest.mark.parametrize(
    ("shards", "rows", "wanted", "want"),
    [
        (1, 10, 10, None),  # met
        (7, 3, 10, None),  # all shards are read
        (1, 0, 10, 7),  # eight times as many, but there are seven
        (2, 10, 11, 3),  # one and a half times as many at least
        (2, 10, 20, 5),  # 2 x 1.1 x 20 / 10 = 4.4
    ],
)
def test_portion_grows_by_the_rows_that_are_missing(shards, rows, wanted, want):
    assert next_portion(shards, rows, wanted, num_input_shards=7) == want


@given(st.integers(1, 1000), st.integers(0, 50), st.integers(1, 10_000))
def test_portions_grow_until_the_quota_is_met_or_the_input_ends(num_input, rows_per_shard, wanted):
    size, steps = 1, 0
    while (following := next_portion(size, size * rows_per_shard, wanted, num_input)) is not None:
        assert size < following <= num_input
        size, steps = following, steps + 1
    assert size * rows_per_shard >= wanted or size == num_input
    assert steps <= 20


def test_build_reads_no_more_shards_than_the_quota_takes(tmp_path):
    summary = summarised(plan(tmp_path, 7))
    assert summary["ok"]
    assert summary["quota"] == {
        "stage": "takerows", "target_rows": 7, "kept": 7, "rows": 7, "is_met": True, "shards_read": 3,
        "shards_of_input": 12,
    }  # fmt: skip
    assert summary["stages"][0]["total"] == 3
    assert summary["stages"][0]["cached"] == 0, "what the portions built is not counted as done before"


def test_input_that_ends_before_is_a_complete_build_that_says_so(tmp_path):
    quota = summarised(plan(tmp_path, 1000))["quota"]
    assert (quota["is_met"], quota["rows"], quota["shards_read"]) == (False, 36, 12)


def test_second_build_has_nothing_to_do(tmp_path):
    made = plan(tmp_path, 20)
    build_in_process(made)
    again = summarised(made)
    assert again["nothing_to_do"]
    assert again["quota"]["rows"] == 20


def test_status_and_verify_look_at_the_shards_that_were_taken(tmp_path):
    made = plan(tmp_path, 7)
    assert len(within_quota(made, Storage(made.out)).shards) == 1, "nothing is built: the first portion"
    build_in_process(made)
    storage = Storage(made.out)
    within = within_quota(made, storage)
    assert len(within.shards) == 3
    assert status(within, storage)["complete"]
    assert verify(within, storage, deep=True) == []


def test_portion_of_another_quota_or_input_is_not_used(tmp_path):
    made = plan(tmp_path, 30)
    build_in_process(made)
    storage = Storage(made.out)
    assert portion_of(made, storage) > 1
    assert portion_of(plan(tmp_path, 31), storage) == 1
    assert portion_of(made.first(11), storage) == 1
    storage.write_bytes(QUOTA, b"{")
    assert portion_of(made, storage) == 1, "a damaged file says nothing"


def test_build_continues_with_the_portion_that_was_interrupted(tmp_path, monkeypatch):
    made = plan(tmp_path, 30)
    build_in_process(made)
    noted = json.loads(Storage(made.out).read_bytes(QUOTA))
    sizes = []
    monkeypatch.setattr("pipeline.build.portions.note_portion", lambda _plan, _storage, size: sizes.append(size))
    build_in_process(made)
    assert sizes == [noted["shards"]], "smaller portions are not looked at again"


def test_chain_that_ends_with_the_quota_is_built(tmp_path):
    summary = summarised(plan(tmp_path, 7, only="takerows"))
    assert summary["ok"]
    assert summary["quota"]["rows"] == 7


def test_portion_that_keeps_fewer_rows_than_before_grows_further(tmp_path):
    made = plan(tmp_path, 30)
    build_in_process(made)
    assert len(within_quota(made, Storage(made.out)).shards) == 12
    content = {"key": json.loads(Storage(made.out).read_bytes(QUOTA))["key"], "shards": 2}
    Storage(made.out).write_bytes(QUOTA, json.dumps(content).encode())
    assert summarised(made)["quota"]["rows"] == 30


def test_a_larger_limit_is_no_smaller_build(tmp_path):
    first = plan(tmp_path, 7, limit=5)
    assert summarised(first)["quota"]["shards_read"] == 3
    assert summarised(plan(tmp_path, 15, limit=8))["quota"]["shards_read"] > 3


def test_a_limit_below_the_shards_of_a_build_is_refused(tmp_path):
    summarised(plan(tmp_path, 30))
    with pytest.raises(PlanError, match="holds a build of 12 shards, which --limit 2 would replace"):
        summarised(plan(tmp_path, 30, limit=2))


def test_fewer_rows_leave_no_tar_of_the_larger_dataset(tmp_path):
    summarised(plan(tmp_path, 20))
    summary = summarised(plan(tmp_path, 4))
    names = {file.name for file in Path(summary["dataset"]).glob("*.tar")}
    assert names == {f"{number:02d}.tar" for number in range(summary["quota"]["shards_read"])}
    assert (
        sum(one["samples"] for one in json.loads((Path(summary["dataset"]) / "shards.json").read_text())["shards"]) == 4
    )


def test_stop_at_the_last_step_of_a_portion_starts_no_other(tmp_path):
    made, sizes = plan(tmp_path, 30), []

    def run_once(part):
        sizes.append((len(part.shards), len(part.stages)))
        return replace(run(part), interrupted=True)

    result = build_portions(made, Storage(made.out), run_once)
    assert sizes == [(1, 3)]
    assert not result.ok
    assert result.num_left == 2, "the sink on one shard, and its last step"
    assert not build_summary(result)["ok"]


def test_rows_beyond_the_target_are_not_called_a_loss(tmp_path):
    shards = {"00": [f"line {row}" for row in range(100)]}
    made = plan_of(tmp_path, [ReadLines(), Upper(), TakeRows(target_rows=2), Pack()], shards)
    assert summarised(made)["few_left"] is None
