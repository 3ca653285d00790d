import json

import pytest

from pipeline.store.records import ModelEntry, Record, output_digest
from pipeline.store.run_folder import RunFolder
from pipeline.store.storage import FileEntry, Storage

FILES = {"a.parquet": FileEntry(bytes=3, sha256="s")}


RECORD = Record(
    stage="upper", fingerprint="f", shard="a", input_digest="i", output_digest=output_digest(FILES),
    rows_in=3, rows_kept=2, rows_out=2,
    rejects={"dropped": 1}, files=FILES,
    models={"zoo:clip": ModelEntry(revision="r", licence="mit"), "wordnet:3.0": ModelEntry(revision="w")},
)  # fmt: skip


def test_record_comes_back_as_it_was_written(tmp_path):
    folder = RunFolder(Storage(str(tmp_path)))
    folder.storage.write_bytes("stages/x/a.json", RECORD.to_json())
    assert folder.record("stages/x", "a") == RECORD


def test_record_written_before_models_were_kept_still_counts(tmp_path):
    folder = RunFolder(Storage(str(tmp_path)))
    older = {key: value for key, value in RECORD.model_dump().items() if key != "models"}
    folder.storage.write_bytes("stages/x/a.json", json.dumps(older).encode())
    assert folder.record("stages/x", "a") == RECORD.model_copy(update={"models": {}})


@pytest.mark.parametrize("damage", [b"", b"{", b"\x00" * 40, b"[]", b'{"stage": "upper"}', RECORD.to_json()[:-20]])
def test_damaged_record_counts_as_none(tmp_path, damage):
    folder = RunFolder(Storage(str(tmp_path)))
    folder.storage.write_bytes("stages/x/a.json", damage)
    assert folder.record("stages/x", "a") is None


def test_absent_record_is_none(tmp_path):
    assert RunFolder(Storage(str(tmp_path))).record("stages/x", "a") is None
