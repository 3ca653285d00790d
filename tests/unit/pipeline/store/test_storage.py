import os
import pickle
import threading
import time
import uuid
from pathlib import Path

import pytest

from pipeline.store.scratch import IN_USE
from pipeline.store.storage import REQUESTS_AT_ONCE, Storage, describe_file


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


def test_published_folder_takes_files_of_any_name(storage, tmp_path):
    names = [f"part-[{n}]*?.tar" for n in range(40)]
    for name in names:
        storage.write_bytes(f"stages/x/{name}", name.encode())
    made = tmp_path / "made"
    made.mkdir()
    storage.publish_folder(made, "dataset", {name: f"stages/x/{name}" for name in names})
    assert sorted(storage.sizes("dataset")) == sorted(names)
    assert storage.read_bytes(f"dataset/{names[7]}") == names[7].encode()


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


def test_part_of_a_file_is_read(storage):
    storage.write_bytes("a.txt", b"0123456789")
    assert storage.read_range("a.txt", 2, 5) == b"234"
    assert storage.read_range("a.txt", 0, 10) == b"0123456789"
    assert storage.read_range("a.txt", 7, 100) == b"789"
    with pytest.raises(FileNotFoundError):
        storage.read_range("b.txt", 0, 1)


def test_contents_are_in_the_order_of_the_names(storage):
    names = [f"x/{n}.txt" for n in (3, 1, 2, *range(4, 60))]
    for name in names:
        storage.write_bytes(name, name.encode())
    assert list(storage.contents(iter(names))) == [name.encode() for name in names]
    assert list(storage.contents([])) == []


def test_missing_file_among_contents_raises_at_its_place(storage):
    for name in ("a", "c"):
        storage.write_bytes(name, b"1")
    found = storage.contents(["a", "b", "c"])
    assert next(found) == b"1"
    with pytest.raises(FileNotFoundError):
        next(found)


@pytest.fixture
def remote():
    made = Storage(f"memory://{uuid.uuid4().hex}/run")
    yield made
    made.close()


def test_local_work_is_done_one_after_the_other_when_asked_for(tmp_path):
    done = []
    results = Storage(str(tmp_path)).in_parallel(lambda n: (done.append(n), n * n)[1], range(5))
    assert done == []
    assert next(results) == 0
    assert done == [0]
    assert list(results) == [1, 4, 9, 16]


def test_remote_work_is_done_so_many_at_once_and_in_order(remote):
    running, most, lock = set(), [], threading.Lock()

    def slow(number):
        with lock:
            running.add(number)
            most.append(len(running))
        time.sleep(0.002 * (number % 3))
        with lock:
            running.discard(number)
        return number

    assert list(remote.in_parallel(slow, range(100))) == list(range(100))
    assert 1 < max(most) <= REQUESTS_AT_ONCE


def test_fault_of_one_request_is_raised_in_its_turn_and_ends_the_rest(remote):
    done = []

    def faulty(number):
        if number == 3:
            raise ValueError("three")
        done.append(number)
        return number

    results = remote.in_parallel(faulty, range(1000))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        list(results)
    assert len(done) < 3 + 2 * REQUESTS_AT_ONCE


def test_results_that_nobody_takes_are_not_made(remote):
    done = []
    results = remote.in_parallel(lambda n: (done.append(n), n)[1], range(1000))
    assert next(results) == 0
    results.close()
    assert len(done) <= REQUESTS_AT_ONCE


def reads_of(monkeypatch, storage):
    """The names of files that are fetched from now on."""
    fetched, real = [], storage.fs.cat_file
    monkeypatch.setattr(storage.fs, "cat_file", lambda rel, **how: (fetched.append(rel), real(rel, **how))[1])
    return fetched


def whole(storage, rel):
    with storage.open_whole(rel) as handle:
        return handle.read()


def publish(storage, rel, content, **how):
    temporary = storage.scratch() / uuid.uuid4().hex
    temporary.write_bytes(content)
    storage.publish(temporary, rel, **how)
    temporary.unlink(missing_ok=True)


def test_whole_file_is_open_for_reading_at_any_place(storage):
    storage.write_bytes("a/b.txt", b"one")
    with storage.open_whole("a/b.txt") as handle:
        handle.seek(1)
        assert handle.read() == b"ne"
    storage.write_bytes("a/b.txt", b"two")
    assert whole(storage, "a/b.txt") == b"two"
    with pytest.raises(FileNotFoundError):
        storage.open_whole("a/c.txt")


def test_remote_file_is_fetched_once_or_kept_when_it_is_written(remote, monkeypatch):
    publish(remote, "x/a", b"own", is_read_again=True)
    publish(remote, "x/b", b"other")
    fetched = reads_of(monkeypatch, remote)
    assert [whole(remote, rel) for rel in ("x/a", "x/b", "x/a", "x/b")] == [b"own", b"other"] * 2
    assert fetched == [remote.path("x/b")]


def test_kept_content_is_dropped_when_the_file_changes_or_goes(remote):
    for name in ("a", "b", "bc"):
        publish(remote, f"x/{name}", b"1", is_read_again=True)
    publish(remote, "x/a", b"2")
    assert whole(remote, "x/a") == b"2"
    publish(remote, "x/a", b"3", is_read_again=True)
    assert whole(remote, "x/a") == b"3"
    remote.remove("x/b")
    with pytest.raises(FileNotFoundError):
        remote.open_whole("x/b")
    assert whole(remote, "x/bc") == b"1"
    remote.remove("x")
    with pytest.raises(FileNotFoundError):
        remote.open_whole("x/a")


def test_kept_content_has_a_limit_and_the_oldest_goes_first(remote, monkeypatch):
    monkeypatch.setattr("pipeline.store.storage.MOST_RECENT_BYTES", 64)
    for name in "abcd":
        publish(remote, name, name.encode() * 4, is_read_again=True)
    publish(remote, "large", b"l" * 5, is_read_again=True)
    fetched = reads_of(monkeypatch, remote)
    assert whole(remote, "large") == b"l" * 5
    assert fetched == [remote.path("large")], "too large a part of the limit to be kept"
    remote.write_bytes("more", b"m" * 51)
    for rel in ("a", "more", "a", "more", "b", "a"):  # with a, large and more there is room for one of the others
        whole(remote, rel)
    assert fetched == [remote.path(rel) for rel in ("large", "more", "b")]
    assert remote._recent._num_bytes == sum(map(len, remote._recent._data.values())) <= 64


def test_kept_content_is_counted_right_by_many_threads(remote, monkeypatch):
    monkeypatch.setattr("pipeline.store.storage.MOST_RECENT_BYTES", 400)
    for n in range(40):
        remote.write_bytes(f"x/{n}", bytes([n]) * 25)

    def mixed(number):
        rel = f"x/{number % 40}"
        if number % 7 == 0:
            publish(remote, rel, bytes([number % 40]) * 25, is_read_again=True)
        return whole(remote, rel)

    found = list(remote.in_parallel(mixed, range(2000)))
    assert found == [bytes([number % 40]) * 25 for number in range(2000)]
    assert remote._recent._num_bytes == sum(map(len, remote._recent._data.values())) <= 400


def test_pickled_storage_has_no_kept_content(remote, monkeypatch):
    publish(remote, "a", b"own", is_read_again=True)
    again = pickle.loads(pickle.dumps(remote))
    fetched = reads_of(monkeypatch, again)
    assert whole(again, "a") == b"own"
    assert fetched == [again.path("a")]


def test_file_that_goes_away_while_its_folder_is_listed_is_left_out(tmp_path, monkeypatch):
    storage = Storage(str(tmp_path))
    for name in ("a", "b", "c"):
        storage.write_bytes(name, b"123")
    real = os.scandir

    class Entries:
        def __init__(self, path):
            self.found = real(path)

        def __enter__(self):
            return self

        def __exit__(self, *exc):
            self.found.close()

        def __iter__(self):
            entries = [Gone(entry) if entry.name == "b" else entry for entry in self.found]
            Path(storage.path("b")).unlink()
            return iter(entries)

    class Gone:
        name = "b"

        def __init__(self, entry):
            self.path, self.is_file = entry.path, lambda: True

        def stat(self):
            return Path(self.path).stat()

    monkeypatch.setattr("os.scandir", Entries)
    assert storage.sizes("") == {"a": 3, "c": 3}
