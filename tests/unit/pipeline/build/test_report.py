import pytest
from _fakes import Best, Pack, ReadLines, Upper, plan_of, run

from core.errors import PlanError, RunStopped
from pipeline.build.report import write_report
from pipeline.store.storage import Storage

CHAIN = [ReadLines(), Upper(), Pack()]
SHARDS = {"a": ["one", "drop"], "b": ["two"]}


def test_report_is_written_again_next_to_the_dataset(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan).ok
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
