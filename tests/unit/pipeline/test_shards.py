import hashlib
import json

import fsspec
import pytest

from pipeline.errors import UsageError
from pipeline.shards import DatasetError, Shard, read_shards

ENTRY = {"file": "00000.tar", "samples": 3, "bytes": 5, "sha256": "ab"}
LISTED = {"dataset": "tiny", "shards": [ENTRY, {**ENTRY, "file": "00001.tar", "samples": 0}]}


def write(folder, listed=LISTED):
    folder.mkdir(exist_ok=True)
    (folder / "shards.json").write_text(listed if isinstance(listed, str) else json.dumps(listed))
    (folder / "00000.tar").write_bytes(b"12345")
    return folder


def test_shards_come_with_their_counts_and_the_hash_of_the_list(tmp_path):
    found = read_shards(write(tmp_path / "dataset"))
    assert found.name == "tiny"
    assert found.shards == (Shard("00000.tar", 3, 5, "ab"), Shard("00001.tar", 0, 5, "ab"))
    assert found.num_samples == 3
    content = (tmp_path / "dataset" / "shards.json").read_bytes()
    assert found.fingerprint == f"sha256:{hashlib.sha256(content).hexdigest()}"
    with found.open(found.shards[0]) as handle:
        assert handle.read() == b"12345"


def test_dataset_is_read_from_a_url():
    fs = fsspec.filesystem("memory")
    fs.pipe("/shards-test/shards.json", json.dumps(LISTED).encode())
    fs.pipe("/shards-test/00000.tar", b"12345")
    found = read_shards("memory://shards-test/")
    with found.open(found.shards[0]) as handle:
        assert handle.read() == b"12345"


def test_list_stays_readable_from_another_working_folder(tmp_path, monkeypatch):
    write(tmp_path / "dataset")
    monkeypatch.chdir(tmp_path)
    found = read_shards("dataset")
    monkeypatch.chdir("/")
    found.open(found.shards[0]).close()


def test_folder_without_a_list_is_refused_with_what_to_name(tmp_path):
    with pytest.raises(DatasetError, match=r"holds no shards.json; name the dataset folder of a finished build"):
        read_shards(tmp_path)
    assert issubclass(DatasetError, UsageError)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("{", r"shards.json is not as it was written \(invalid json: .*\); remove it and build again"),
        ("[]", r"shards.json is not as it was written \(input should be an object\)"),
        (
            {"dataset": "x", "shards": [{"file": "a.tar"}]},
            r"\(shards.0.samples: field required\); remove it and build again",
        ),
        (
            {"dataset": "x", "shards": [{**ENTRY, "file": "../a.tar"}]},
            r"lists '../a.tar'; expected a name in its own folder",
        ),
        (
            {"dataset": "x", "shards": [{**ENTRY, "samples": -1}]},
            r"\(shards.0.samples: input should be greater than or equal to 0\)",
        ),
        ({"dataset": "x", "shards": [ENTRY, ENTRY]}, "lists '00000.tar' twice"),
    ],
)
def test_damaged_list_is_refused(tmp_path, listed, message):
    with pytest.raises(DatasetError, match=message):
        read_shards(write(tmp_path / "dataset", listed))
