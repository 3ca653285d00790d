import pickle
import uuid

import pytest

from pipeline.store.scratch import IN_USE
from pipeline.store.storage import Storage, describe_file


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    url = str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}/run"
    made = Storage(url)
    yield made
    made.close()


def scratch_names(storage):
    return sorted(path.name for path in storage.scratch().iterdir() if path.name != IN_USE)


def write_and_raise(storage, rel):
    with storage.writing(rel) as path:
        path.write_bytes(b"half")
        raise RuntimeError("torn")


def test_written_file_is_read_back(storage):
    storage.write_bytes("a/b.txt", b"one")
    assert storage.read_bytes("a/b.txt") == b"one"
    assert storage.exists("a/b.txt")
    assert storage.sizes("a") == {"b.txt": 3}
    with storage.open("a/b.txt") as handle:
        handle.seek(1)
        assert handle.read() == b"ne"


def test_block_that_raises_leaves_nothing(storage):
    with pytest.raises(RuntimeError, match="torn"):
        write_and_raise(storage, "a/b.txt")
    assert not storage.exists("a/b.txt")
    assert scratch_names(storage) == []


def test_block_that_raises_leaves_the_old_file(storage):
    storage.write_bytes("a/b.txt", b"old")
    with pytest.raises(RuntimeError, match="torn"):
        write_and_raise(storage, "a/b.txt")
    assert storage.read_bytes("a/b.txt") == b"old"


def test_file_is_replaced(storage):
    storage.write_bytes("a.txt", b"one")
    storage.write_bytes("a.txt", b"three")
    assert storage.read_bytes("a.txt") == b"three"


def test_missing_file_raises_and_missing_folder_is_empty(storage):
    assert storage.sizes("none") == {}
    assert storage.folders("none") == []
    assert not storage.exists("none")
    storage.remove("none")
    with pytest.raises(FileNotFoundError):
        storage.read_bytes("none")


def test_folder_is_removed_with_all_in_it(storage):
    storage.write_bytes("a/b/c.txt", b"x")
    storage.remove("a")
    assert not storage.exists("a/b/c.txt")


def test_published_folder_holds_exactly_the_files_given(storage, tmp_path):
    storage.write_bytes("stages/x/a.tar", b"tar")
    for number, names in enumerate((["card", "old"], ["card"])):
        made = tmp_path / f"made-{number}"
        made.mkdir()
        for name in names:
            (made / name).write_text(f"{name} {number}")
        storage.publish_folder(made, "dataset", {"a.tar": "stages/x/a.tar"})
    assert sorted(storage.sizes("dataset")) == ["a.tar", "card"]
    assert storage.read_bytes("dataset/card") == b"card 1"
    assert storage.read_bytes("dataset/a.tar") == b"tar"
    assert storage.read_bytes("stages/x/a.tar") == b"tar"


def test_fetched_file_has_the_content(storage, tmp_path):
    storage.write_bytes("a/b.txt", b"one")
    assert storage.fetch("a/b.txt", tmp_path / "into").read_bytes() == b"one"


def test_local_dataset_shares_bytes_with_the_stage(tmp_path):
    storage = Storage(str(tmp_path / "run"))
    storage.write_bytes("stages/x/a.tar", b"tar")
    made = storage.scratch() / "made"
    made.mkdir()
    storage.publish_folder(made, "dataset", {"a.tar": "stages/x/a.tar"})
    stage, dataset = tmp_path / "run/stages/x/a.tar", tmp_path / "run/dataset/a.tar"
    assert stage.stat().st_ino == dataset.stat().st_ino
    storage.write_bytes("stages/x/a.tar", b"new")
    assert dataset.read_bytes() == b"tar", "a rewritten stage file must not reach into the published dataset"


def test_scratch_of_earlier_runs_is_cleared_and_our_own_is_kept(tmp_path):
    dead, ours = Storage(str(tmp_path), "dead"), Storage(str(tmp_path), "ours")
    (dead.scratch() / "left").write_bytes(b"x")
    (ours.scratch() / "mine").write_bytes(b"x")
    ours.clear_scratch()
    assert not (tmp_path / "tmp/dead").exists()
    assert (tmp_path / "tmp/ours/mine").exists()


def test_closing_leaves_no_temporary_folder(tmp_path):
    storage = Storage(str(tmp_path))
    storage.write_bytes("a.txt", b"x")
    storage.close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_pickled_storage_finds_its_folder_from_another_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = Storage("run")
    storage.write_bytes("a.txt", b"x")
    packed = pickle.dumps(storage)
    monkeypatch.chdir("/")
    again = pickle.loads(packed)
    assert again.read_bytes("a.txt") == b"x"
    assert again.run_id == storage.run_id


def test_a_folder_is_fetched_with_its_files(storage, tmp_path):
    for name in ("x.bin", "y.bin"):
        storage.write_bytes(f"stages/s/artifact/index/{name}", name.encode())
    folder = storage.fetch("stages/s/artifact/index", tmp_path / "into")
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"x.bin": b"x.bin", "y.bin": b"y.bin"}


def test_bytes_of_a_folder_count_what_lies_deeper(storage):
    storage.write_bytes("stages/s/a.parquet", b"123")
    storage.write_bytes("stages/s/store/b.tar", b"12345")
    assert storage.tree_bytes("stages/s") == 8
    assert storage.tree_bytes("stages/none") == 0


def test_file_is_described_by_size_and_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    described = describe_file(tmp_path / "f")
    assert described.bytes == 3
    assert described.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
