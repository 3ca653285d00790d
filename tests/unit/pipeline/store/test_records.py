import json

import pytest

from pipeline.store.records import ALL_SHARDS, ModelEntry, Record, digest, output_digest, read_record
from pipeline.store.storage import FileEntry, Storage, describe_file

FILES = {"a.parquet": FileEntry(bytes=3, sha256="s")}
RECORD = Record(
    stage="upper", fingerprint="f", shard="a", input_digest="i", output_digest=output_digest(FILES),
    rows_in=3, rows_kept=2, rows_out=2,
    rejects={"dropped": 1}, files=FILES,
    models={"zoo:clip": ModelEntry(revision="r", licence="mit"), "wordnet:3.0": ModelEntry(revision="w")},
)  # fmt: skip


def test_record_comes_back_as_it_was_written(tmp_path):
    storage = Storage(str(tmp_path))
    storage.write_bytes("stages/x/a.json", RECORD.to_json())
    assert read_record(storage, "stages/x", "a") == RECORD


def test_record_written_before_models_were_kept_still_counts(tmp_path):
    storage = Storage(str(tmp_path))
    older = {key: value for key, value in RECORD.model_dump().items() if key != "models"}
    storage.write_bytes("stages/x/a.json", json.dumps(older).encode())
    assert read_record(storage, "stages/x", "a") == RECORD.model_copy(update={"models": {}})


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 40, b"[]", b'{"stage": "upper"}', RECORD.to_json()[:-20]])
def test_damaged_record_counts_as_none(tmp_path, damage):
    storage = Storage(str(tmp_path))
    storage.write_bytes("stages/x/a.json", damage)
    assert read_record(storage, "stages/x", "a") is None


def test_absent_record_is_none(tmp_path):
    assert read_record(Storage(str(tmp_path)), "stages/x", "a") is None


def test_digest_tells_where_parts_end():
    assert digest(["ab", "c"]) != digest(["a", "bc"])


def test_output_digest_hangs_on_names_and_contents_and_not_on_order():
    one, two = FileEntry(bytes=1, sha256="1"), FileEntry(bytes=1, sha256="2")
    assert output_digest({"a": one, "b": two}) == output_digest({"b": two, "a": one})
    assert output_digest({"a": one, "b": two}) != output_digest({"a": two, "b": one})


def test_file_is_described_by_size_and_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    described = describe_file(tmp_path / "f")
    assert described.bytes == 3
    assert described.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_no_shard_can_be_called_like_the_step_over_all_shards():
    from pipeline.plan.inputs import name_shards

    assert ALL_SHARDS not in name_shards(["/x/_all.tar", "/y/_all.tar"])
