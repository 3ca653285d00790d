import pytest
from _fakes import Best, Pack, ReadLines, Upper, plan_of, run

from pipeline.build.status import status
from pipeline.store.lock import hold
from pipeline.store.storage import Storage

CHAIN = [ReadLines(), Upper(), Best(), Pack()]
SHARDS = {"a": ["one", "drop it", "unusable"], "b": ["two", "worst"]}


@pytest.fixture
def built(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan).ok
    return plan, Storage(plan.out), tmp_path / "run"


def test_status_counts_records_rows_and_rejects(built):
    plan, storage, _ = built
    report = status(plan, storage)
    assert report["complete"] is True
    assert report["holder"] is None
    assert [(s["stage"], s["done"], s["total"], s["rows_out"], s["rejects"]) for s in report["stages"]] == [
        ("readlines", 2, 2, 4, {"unusable": 1}),
        ("upper", 2, 2, 3, {"dropped": 1}),
        ("best", 1, 1, 2, {"worst": 1}),
        ("pack", 3, 3, 2, {}),
    ]


def test_status_of_an_empty_folder_is_nothing_done(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    report = status(plan, Storage(plan.out))
    assert report["complete"] is False
    assert [s["done"] for s in report["stages"]] == [0, 0, 0, 0]
    assert not (tmp_path / "run").exists(), "looking must not make the folder"


def test_status_names_the_process_that_builds(built):
    plan, storage, _ = built
    with hold(Storage(plan.out)):
        assert status(plan, storage)["holder"].startswith("held by process ")
