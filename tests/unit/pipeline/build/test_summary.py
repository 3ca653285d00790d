import json

from _fakes import Pack, ReadLines, Upper, build_in_process, plan_of, summarised

CHAIN = [ReadLines(), Upper(), Pack()]
SHARDS = {"a": ["one", "drop"], "b": ["two"]}


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


def test_summary_of_a_second_build_reports_nothing_to_do(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    build_in_process(plan)
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


def test_summary_of_a_chain_without_a_sink_names_no_dataset(tmp_path):
    summary = summarised(plan_of(tmp_path, [ReadLines(), Upper()], SHARDS))
    assert summary["ok"] is True
    assert summary["dataset"] is None
