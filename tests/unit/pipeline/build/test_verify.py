import json
import tarfile

import pytest
from _fakes import Best, Pack, ReadLines, Upper, id_of, plan_of, run
from _records import edit_record

from pipeline.build.verify import verify
from pipeline.store.run_folder import RunFolder
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


def test_run_folder_without_faults_verifies(built):
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


@pytest.mark.parametrize("lost", ["dataset/about.json", "stages/readlines/b.parquet"])
def test_verify_finds_a_file_that_is_deleted_while_it_hashes(built, monkeypatch, lost):
    plan, storage, out = built
    path = out / lost.replace("stages/readlines", plan.stages[0].folder)
    hashed = RunFolder.has_content

    def delete_first(folder, rel, entry):
        if rel.endswith(f"{plan.stages[0].folder}/a.parquet"):
            path.unlink()
        return hashed(folder, rel, entry)

    monkeypatch.setattr(RunFolder, "has_content", delete_first)
    found = verify(plan, storage, deep=True)
    assert len(found) == 1
    assert path.name in found[0]


def test_verify_finds_a_flipped_byte_only_when_it_looks_deep(built):
    plan, storage, out = built
    flip(out / plan.stages[1].folder / "a.parquet")
    assert verify(plan, storage, deep=False) == []
    assert verify(plan, storage, deep=True) == [
        "stage upper, shard a: a.parquet is not what was written (sha256 differs)"
    ]


def test_verify_finds_rows_that_do_not_add_up(built):
    plan, storage, out = built
    edit_record(out, plan.stages[1].folder, "a", rows_kept=0)
    assert verify(plan, storage, deep=False) == ["stage upper, shard a: 2 rows in, 0 kept, 1 rejected"]


def test_verify_finds_rows_lost_between_stages(built):
    plan, storage, out = built
    edit_record(out, plan.stages[1].folder, "a", rows_in=5, rows_kept=4)
    assert verify(plan, storage, deep=False) == ["stage upper, shard a: 5 rows came in, the stage before left 2"]


def test_verify_finds_a_record_of_another_result(built):
    plan, storage, out = built
    edit_record(out, plan.stages[1].folder, "a", fingerprint="f" * 64)
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


def test_verify_finds_a_sample_that_is_in_two_tars(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Pack()], {"a": ["one"], "b": ["one"]})
    assert run(plan).ok
    expected = f"dataset/b.tar: sample {id_of('one')} is also in a.tar, or its members are not adjacent"
    assert verify(plan, Storage(plan.out), deep=True) == [expected]


def test_emitted_tars_hold_the_samples(built):
    _, _, out = built
    with tarfile.open(out / "dataset/a.tar") as tar:
        assert tar.getnames() == [f"{id_of('one')}.txt"]
