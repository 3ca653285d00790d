import hashlib
import json
import os

import fsspec
import pytest

from core.errors import DatasetError, UsageError
from samples import shards
from samples.shards import ShardFile, read_shards

SHA = hashlib.sha256(b"12345").hexdigest()
ENTRY = {"file": "00000.tar", "samples": 3, "bytes": 5, "sha256": SHA}
LISTED = {"dataset": "tiny", "shards": [ENTRY, {**ENTRY, "file": "00001.tar", "samples": 0}]}


def write(folder, listed=LISTED):
    folder.mkdir(exist_ok=True)
    (folder / "shards.json").write_text(listed if isinstance(listed, str) else json.dumps(listed))
    (folder / "00000.tar").write_bytes(b"12345")
    return folder


def test_shards_come_with_their_counts_and_the_hash_of_the_list(tmp_path):
    found = read_shards(write(tmp_path / "dataset"))
    assert found.name == "tiny"
    assert found.shards == (ShardFile("00000.tar", 3, 5, SHA), ShardFile("00001.tar", 0, 5, SHA))
    assert found.num_samples == 3
    content = (tmp_path / "dataset" / "shards.json").read_bytes()
    assert found.fingerprint == f"sha256:{hashlib.sha256(content).hexdigest()}"
    with found.open(found.shards[0]) as handle:
        assert handle.read() == b"12345"


def test_splits_are_read_and_one_of_them_is_taken(tmp_path):
    entries = [{**ENTRY, "splits": {"train": 1, "in_domain": 2}}, {**ENTRY, "file": "b.tar", "splits": {"train": 3}},
               {**ENTRY, "file": "c.tar", "samples": 0}]  # fmt: skip
    found = read_shards(write(tmp_path / "dataset", {"dataset": "tiny", "shards": entries}))
    assert [shard.splits for shard in found.shards] == [(("in_domain", 2), ("train", 1)), (("train", 3),), ()]
    held = found.of_split("in_domain")
    assert (held.num_samples, [shard.num_samples for shard in held.shards]) == (2, [2, 0, 0])
    assert {shard.split for shard in held.shards} == {"in_domain"}
    assert held.fingerprint == found.fingerprint


def test_dataset_without_splits_is_the_same_for_any(tmp_path):
    found = read_shards(write(tmp_path / "dataset"))
    assert found.of_split("train") == found


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
        (
            {"dataset": "x", "shards": [{**ENTRY, "bytes": -1}]},
            r"\(shards.0.bytes: input should be greater than or equal to 0\)",
        ),
        (
            {"dataset": "x", "shards": [{**ENTRY, "sha256": "ab"}]},
            "with the sha256 'ab'; expected 64 hexadecimal digits",
        ),
        ({"dataset": "x", "shards": [{**ENTRY, "file": "a\0.tar"}]}, "expected a name in its own folder"),
        (
            {"dataset": "x", "shards": [{**ENTRY, "samples": "3"}]},
            r"\(shards.0.samples: input should be a valid integer\)",
        ),
        (
            {"dataset": "x", "shards": [{**ENTRY, "samples": True}]},
            r"\(shards.0.samples: input should be a valid integer\)",
        ),
        ({"dataset": "x", "shards": [{**ENTRY, "bytes": 5.5}]}, r"\(shards.0.bytes: input should be a valid integer\)"),
        ({"dataset": "x", "shards": ["00000.tar"]}, r"\(shards.0: input should be an object\)"),
        ({"dataset": "x", "shards": {"a": 1}}, r"\(shards: input should be a valid array\)"),
        ({"dataset": "x", "shards": 7}, r"\(shards: input should be a valid array\)"),
        ({"dataset": None, "shards": []}, r"\(dataset: input should be a valid string\)"),
        ("7", r"\(input should be an object\)"),
        ({"dataset": "x", "shards": [{**ENTRY, "splits": None}]}, r"\(shards.0.splits: input should be an object\)"),
        (
            {"dataset": "x", "shards": [{**ENTRY, "splits": {"a": 2.0}}]},
            r"\(shards.0.splits.a: input should be a valid",
        ),
        ({"dataset": "x", "shards": [{**ENTRY, "splits": {"a": -1}}]}, r"\(shards.0.splits.a: input should be greater"),
        (
            {"dataset": "x", "shards": [{**ENTRY, "splits": {"a": 1, "b": 1}}]},
            "lists '00000.tar' with 3 samples, of which 2 are in splits; build the dataset again",
        ),
        (
            {"dataset": "x", "shards": [{**ENTRY, "splits": {"a": 3}}, {**ENTRY, "file": "b.tar"}]},
            "lists 'b.tar' with 3 samples, of which 0 are in splits; build the dataset again",
        ),
        ("[" * 100_000, r"\(invalid json: recursion limit exceeded"),
        ('{"dataset": "x", "shards": [{"samples": 1e999}]}', r"\(shards.0.file: field required\)"),
    ],
)
def test_damaged_list_is_refused(tmp_path, listed, message):
    with pytest.raises(DatasetError, match=message):
        read_shards(write(tmp_path / "dataset", listed))


def refusal(act, *arguments):
    with pytest.raises(DatasetError) as caught:
        act(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


ALONE = {"dataset": "tiny", "shards": [ENTRY]}
WHAT_TO_DO = "it is not the file that was built; put that one back, or build the dataset again"


def test_tar_of_another_size_is_refused_before_anything_is_read(tmp_path):
    found = read_shards(write(tmp_path / "dataset", ALONE))
    found.check_sizes()
    tar = tmp_path / "dataset" / "00000.tar"
    tar.write_bytes(b"1234")
    assert refusal(found.check_sizes) == f"shard {tar} has 4 bytes, shards.json says 5: {WHAT_TO_DO}"
    assert refusal(found.open, found.shards[0]).startswith(f"shard {tar} has 4 bytes")
    tar.unlink()
    assert refusal(found.check_sizes) == f"shard {tar} is not there: {WHAT_TO_DO}"


def test_tar_with_another_hash_is_refused_when_it_is_opened(tmp_path):
    found = read_shards(write(tmp_path / "dataset", ALONE))
    found.open(found.shards[0]).close()
    tar = tmp_path / "dataset" / "00000.tar"
    tar.write_bytes(b"12346")
    os.utime(tar, ns=(1, 1))
    found.check_sizes()
    message = refusal(found.open, found.shards[0])
    assert message.startswith(f"shard {tar} has the sha256 ")
    assert message.endswith(f"…, shards.json says {SHA[:12]}…: {WHAT_TO_DO}")


def test_tar_is_not_hashed_where_sizes_are_all_that_is_asked(tmp_path):
    found = read_shards(write(tmp_path / "dataset", ALONE), is_hashed=False)
    (tmp_path / "dataset" / "00000.tar").write_bytes(b"12346")
    with found.open(found.shards[0]) as handle:
        assert handle.read() == b"12346"


def test_tar_is_hashed_once_by_a_process(tmp_path, monkeypatch):
    found = read_shards(write(tmp_path / "dataset", ALONE))
    opened = []
    true_open = shards._open
    monkeypatch.setattr(shards, "_open", lambda place: opened.append(place) or true_open(place))
    for _ in range(3):
        found.open(found.shards[0]).close()
    assert len(opened) == 4


def test_remote_tars_are_checked_too():
    fs = fsspec.filesystem("memory")
    fs.pipe("/checked/shards.json", json.dumps(ALONE).encode())
    fs.pipe("/checked/00000.tar", b"12345")
    found = read_shards("memory://checked")
    found.check_sizes()
    fs.pipe("/checked/00000.tar", b"12346")
    assert " has the sha256 " in refusal(found.open, found.shards[0])
    fs.pipe("/checked/00000.tar", b"123")
    assert "shard memory://checked/00000.tar has 3 bytes" in refusal(found.check_sizes)
    fs.rm("/checked/00000.tar")
    assert "shard memory://checked/00000.tar is not there" in refusal(found.check_sizes)
