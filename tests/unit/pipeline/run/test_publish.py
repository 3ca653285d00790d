import json

from _fakes import Pack, ReadLines, Upper, plan_of, run

from pipeline.store.records import ALL_SHARDS
from pipeline.store.run_folder import RunFolder
from pipeline.store.storage import Storage

SHARDS = {"a": ["one", "drop"], "b": ["drop too"], "c": ["two"]}


def built(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Pack()], SHARDS)
    assert run(plan).ok
    folder = RunFolder(Storage(plan.out))
    return folder, folder.record(plan.stages[-1].folder, ALL_SHARDS), tmp_path / "run/dataset"


def test_shard_without_rows_has_no_file_in_the_dataset(tmp_path):
    _, record, dataset = built(tmp_path)
    assert sorted(path.name for path in dataset.iterdir()) == ["a.tar", "about.json", "c.tar", "shards.json"]
    assert record.rows_out == 2


def test_record_lists_every_published_file(tmp_path):
    folder, record, dataset = built(tmp_path)
    assert {name.rpartition("/")[2] for name in record.files} == {path.name for path in dataset.iterdir()}
    assert folder.has_files("stages/any", record)
    assert folder.is_published(record)


def test_sink_gets_counts_and_rejects_of_all_stages(tmp_path):
    _, _, dataset = built(tmp_path)
    about = json.loads((dataset / "about.json").read_text())
    assert about["rows_in"] == {"readlines": 4, "upper": 4, "pack": 2}
    assert [(row["shard"], row["stage"], row["reject_reason"]) for row in about["rejects"]] == [
        ("a", "upper", "dropped"), ("b", "upper", "dropped"),
    ]  # fmt: skip
