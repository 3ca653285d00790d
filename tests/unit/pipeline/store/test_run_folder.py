import json

import pytest

from pipeline.store.record_log import RecordWriter
from pipeline.store.records import ModelEntry, Record, output_digest
from pipeline.store.run_folder import RunFolder, path_of
from pipeline.store.storage import FileEntry, Storage, describe_file

FILES = {"a.parquet": FileEntry(bytes=3, sha256="s")}


RECORD = Record(
    stage="upper", fingerprint="f", shard="a", input_digest="i", output_digest=output_digest(FILES),
    rows_in=3, rows_kept=2, rows_out=2,
    rejects={"dropped": 1}, files=FILES,
    models={"zoo:clip": ModelEntry(revision="r", licence="mit"), "wordnet:3.0": ModelEntry(revision="w")},
)  # fmt: skip


def write_record(folder, stage_folder, record):
    writer = RecordWriter(folder.storage)
    writer.add(stage_folder, record)
    writer.close()


def put_lines(folder, content):
    folder.storage.write_bytes("stages/x/records.jsonl", content)


def test_record_comes_back_as_it_was_written(tmp_path):
    folder = RunFolder(Storage(str(tmp_path)))
    put_lines(folder, RECORD.to_json() + b"\n")
    assert folder.record("stages/x", "a") == RECORD


def test_record_written_before_models_were_kept_still_counts(tmp_path):
    folder = RunFolder(Storage(str(tmp_path)))
    older = {key: value for key, value in RECORD.model_dump().items() if key != "models"}
    put_lines(folder, json.dumps(older).encode() + b"\n")
    assert folder.record("stages/x", "a") == RECORD.model_copy(update={"models": {}})


DAMAGES = (
    b"", b"{", b"\x00" * 40, b"[]", b"5", b"[" * 100_000, b"\xff\xfe{}", b'{"stage": "upper"}', b'{"shard": "a"}',
    b'{"shard": ["a"]}', RECORD.to_json()[:-20], RECORD.to_json()[:-1], RECORD.to_json() + b"}",
    RECORD.to_json().replace(b'"sha256": "s"', b'"sha256": "t"'),
    RECORD.to_json().replace(b'"rows_in": 3', b'"rows_in": NaN'),
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record_counts_as_none(tmp_path, damage):
    folder = RunFolder(Storage(str(tmp_path)))
    put_lines(folder, damage)
    assert folder.record("stages/x", "a") is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_record_leaves_those_beside_it(tmp_path, damage):
    folder = RunFolder(Storage(str(tmp_path)))
    others = [RECORD.model_copy(update={"shard": shard}) for shard in ("0", "b")]
    put_lines(folder, b"\n".join([others[0].to_json(), damage, others[1].to_json(), b""]))
    assert list(folder.records("stages/x", ["0", "a", "b"])) == others


def test_absent_record_is_none(tmp_path):
    assert RunFolder(Storage(str(tmp_path))).record("stages/x", "a") is None


@pytest.fixture
def folder(tmp_path):
    return RunFolder(Storage(str(tmp_path)))


def test_record_is_found_under_the_name_of_its_shard(folder):
    write_record(folder, "stages/x", RECORD)
    assert folder.has_record("stages/x", "a")
    assert folder.record("stages/x", "a") == RECORD
    assert list(folder.records("stages/x", ["b", "a"])) == [RECORD]


def test_record_of_one_shard_is_none_for_another(folder):
    write_record(folder, "stages/x", RECORD)
    assert not folder.has_record("stages/x", "b")
    assert folder.record("stages/x", "b") is None


def test_removed_record_is_gone(folder):
    write_record(folder, "stages/x", RECORD)
    writer = RecordWriter(folder.storage)
    writer.remove("stages/x", ["a"])
    assert not folder.has_record("stages/x", "a"), "before the writer ends, too"
    writer.close()
    assert RunFolder(folder.storage).record("stages/x", "a") is None


def test_folder_is_read_once_for_each_object(folder):
    assert not folder.has_record("stages/x", "a")
    assert folder.files("stages/x") == {}
    write_record(folder, "stages/x", RECORD)
    assert not folder.has_record("stages/x", "a")
    assert folder.files("stages/x") == {}
    assert RunFolder(folder.storage).has_record("stages/x", "a")


def test_forgotten_folder_is_read_again_with_those_in_it(folder):
    for name in ("stages/x", "stages/x/store", "stages/xy"):
        assert folder.files(name) == {}
        folder.storage.write_bytes(f"{name}/file", b"1")
    assert not folder.has_record("stages/x", "a")
    write_record(folder, "stages/x", RECORD)
    folder.forget("stages/x")
    assert folder.has_record("stages/x", "a")
    assert folder.files("stages/x").keys() == {"file", "records.jsonl"}
    assert folder.files("stages/x/store") == {"file": 1}
    assert folder.files("stages/xy") == {}, "another folder is still as it was read"


@pytest.mark.parametrize(("content", "expected"), [(b"abc", True), (b"abcd", False), (None, False)])
def test_files_of_a_record_must_have_the_sizes_it_states(folder, content, expected):
    if content is not None:
        folder.storage.write_bytes("stages/x/a.parquet", content)
    assert folder.has_files("stages/x", RECORD) is expected


def test_published_file_lies_in_the_dataset_and_any_other_in_the_stage():
    assert path_of("stages/x", "../../dataset/a.tar") == "dataset/a.tar"
    assert path_of("stages/x", "store/a.tar") == "stages/x/store/a.tar"


def test_dataset_is_published_only_with_mark_and_folder(folder):
    folder.mark_published(RECORD)
    assert not folder.is_published(RECORD)
    folder.storage.write_bytes("dataset/a.tar", b"x")
    assert folder.is_published(RECORD)
    assert not folder.is_published(RECORD.model_copy(update={"output_digest": "other"}))
    folder.unmark_published()
    assert not folder.is_published(RECORD)


def test_content_is_compared_by_its_hash(folder, tmp_path):
    folder.storage.write_bytes("f", b"abc")
    assert folder.has_content("f", describe_file(tmp_path / "f"))
    assert not folder.has_content("f", FileEntry(bytes=3, sha256="s"))
