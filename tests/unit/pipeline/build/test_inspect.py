import json
import tarfile

import pytest
from _fakes import Best, Log, Pack, ReadLines, Twins, Upper, Words, id_of, manifest_of, plan_of, run

from pipeline.build.inspect import clean, explain, status, verify
from pipeline.plan.plan import make_plan
from pipeline.store.lock import hold
from pipeline.store.storage import Storage

CHAIN = [ReadLines(), Upper(), Best(), Pack()]
SHARDS = {"a": ["one", "drop it", "unusable"], "b": ["two", "worst"]}


@pytest.fixture
def built(tmp_path):
    plan = plan_of(tmp_path, CHAIN, SHARDS)
    assert run(plan).ok
    return plan, Storage(plan.out), tmp_path / "run"


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


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


def test_status_says_who_is_at_work(built):
    plan, storage, _ = built
    with hold(Storage(plan.out)):
        assert status(plan, storage)["holder"].startswith("held by process ")


def test_sound_run_folder_verifies(built):
    plan, storage, _ = built
    assert verify(plan, storage, deep=True) == []


def test_verify_names_each_record_that_is_missing(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], SHARDS)
    assert verify(plan, Storage(plan.out), deep=False) == [
        f"stage {stage}, shard {shard}: no record" for stage in ("readlines", "upper") for shard in "ab"
    ]


def test_verify_finds_a_deleted_file(built):
    plan, storage, out = built
    size = (out / plan.stages[1].folder / "a.parquet").stat().st_size
    (out / plan.stages[1].folder / "a.parquet").unlink()
    expected = f"stage upper, shard a: a.parquet has None bytes, the record says {size}"
    assert verify(plan, storage, deep=False) == [expected]


def test_verify_finds_a_flipped_byte_only_when_it_looks_deep(built):
    plan, storage, out = built
    flip(out / plan.stages[1].folder / "a.parquet")
    assert verify(plan, storage, deep=False) == []
    assert verify(plan, storage, deep=True) == [
        "stage upper, shard a: a.parquet is not what was written (sha256 differs)"
    ]


def edit_record(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_verify_finds_rows_that_do_not_add_up(built):
    plan, storage, out = built
    edit_record(out / plan.stages[1].folder / "a.json", rows_kept=0)
    assert verify(plan, storage, deep=False) == ["stage upper, shard a: 2 rows in, 0 kept, 1 rejected"]


def test_verify_finds_rows_lost_between_stages(built):
    plan, storage, out = built
    edit_record(out / plan.stages[1].folder / "a.json", rows_in=5, rows_kept=4)
    assert verify(plan, storage, deep=False) == ["stage upper, shard a: 5 rows came in, the stage before left 2"]


def test_verify_finds_a_record_of_another_result(built):
    plan, storage, out = built
    edit_record(out / plan.stages[1].folder / "a.json", fingerprint="f" * 64)
    assert verify(plan, storage, deep=False) == ["stage upper, shard a: the record is of another result (ffffffffffff)"]


def test_verify_finds_a_tar_too_many_in_the_dataset(built):
    plan, storage, out = built
    (out / "dataset/c.tar").write_bytes(b"x")
    assert verify(plan, storage, deep=False) == ["dataset/c.tar: not listed in shards.json"]


def test_verify_finds_a_tar_missing_from_the_dataset(built):
    plan, storage, out = built
    size = (out / "dataset/a.tar").stat().st_size
    (out / "dataset/a.tar").unlink()
    assert verify(plan, storage, deep=False) == [f"dataset/a.tar: None bytes, shards.json says {size}"]


def test_verify_finds_a_dataset_that_is_gone(built):
    plan, storage, _ = built
    storage.remove("dataset")
    assert verify(plan, storage, deep=False) == ["dataset/shards.json: not there; build again"]


def test_verify_counts_the_samples_of_each_tar_when_it_looks_deep(built):
    plan, storage, out = built
    path = out / "dataset/shards.json"
    listed = json.loads(path.read_text())
    listed["shards"][0]["samples"] = 7
    path.write_text(json.dumps(listed))
    assert verify(plan, storage, deep=True) == ["dataset/a.tar: 1 samples, shards.json says 7"]


def test_verify_finds_a_sample_that_stands_in_two_tars(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Pack()], {"a": ["one"], "b": ["one"]})
    assert run(plan).ok
    expected = f"dataset/b.tar: sample {id_of('one')} stands in a.tar too, or its members lie apart"
    assert verify(plan, Storage(plan.out), deep=True) == [expected]


def test_emitted_tars_hold_the_samples(built):
    _, _, out = built
    with tarfile.open(out / "dataset/a.tar") as tar:
        assert tar.getnames() == [f"{id_of('one')}.txt"]


def stages_of(story):
    return [(step["stage"], step["fate"]) for step in story]


def test_explain_tells_the_story_of_a_sample_and_its_children(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Twins(), Pack()], {"a": ["one", "two"]})
    run(plan)
    storage = Storage(plan.out)
    whole = explain(plan, storage, id_of("one"))
    assert stages_of(whole) == [
        ("readlines", "kept"),
        ("upper", "kept"),
        *[("twins", "kept")] * 2,
        *[("pack", "kept")] * 2,
    ]
    child = explain(plan, storage, f"{id_of('one')}-e2")
    assert stages_of(child) == [("readlines", "kept"), ("upper", "kept"), ("twins", "kept"), ("pack", "kept")]
    assert child[2]["row"]["instruction"] == "2 one"
    assert child[2]["row"]["parent_id"] == id_of("one")


def test_explain_says_where_a_sample_was_rejected_and_why(built):
    plan, storage, _ = built
    story = explain(plan, storage, id_of("drop it"))
    assert stages_of(story) == [("readlines", "kept"), ("upper", "rejected")]
    assert story[1]["row"]["reject_reason"] == "dropped"
    assert explain(plan, storage, "0" * 16) == []


def test_clean_keeps_what_is_needed_and_removes_the_rest(built, tmp_path):
    plan, storage, out = built
    other = make_plan(manifest_of(ReadLines(), Upper(suffix="!")), plan.out, [str(tmp_path / "in")])
    run(other)
    needed = {s.folder for s in plan.stages}
    gone = clean(needed, storage, dry_run=True)
    assert [folder for folder, _ in gone] == [other.stages[1].folder]
    assert gone[0][1] > 0
    assert (out / other.stages[1].folder).exists()
    clean(needed, storage, dry_run=False)
    assert not (out / other.stages[1].folder).exists()
    log = Log()
    assert run(plan, listen=log).ok
    assert log.of("started") == []
    assert verify(plan, storage, deep=True) == []


def test_artifact_folder_is_cleaned_with_its_stage(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words()], {"a": ["one"]})
    run(plan)
    storage = Storage(plan.out)
    clean({plan.stages[0].folder}, storage, dry_run=False)
    assert storage.folders("stages") == [plan.stages[0].folder.removeprefix("stages/")]
