"""Records as lines of files that grow, are cut off, and are joined by builds that may be killed at any point."""

import uuid

import pytest

from pipeline.store.record_log import RECORDS, RecordWriter, read_lines
from pipeline.store.records import Record, output_digest
from pipeline.store.storage import Storage

FOLDER = "stages/x-1"
FIRST, SECOND = "records-000001.jsonl", "records-000002.jsonl"


def record_of(shard, rows=0):
    return Record(
        stage="x", fingerprint="f", shard=shard, input_digest="i", output_digest=output_digest({}), rows_in=rows,
        rows_kept=rows, rows_out=rows,
    )  # fmt: skip


def line_of(shard, rows=0):
    return record_of(shard, rows).to_json()


def new_storage(kind, tmp_path):
    return Storage(str(tmp_path / "run") if kind == "local" else f"memory://{uuid.uuid4().hex}/run")


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    made = new_storage(request.param, tmp_path)
    yield made
    made.close()


@pytest.fixture
def local(tmp_path):
    return new_storage("local", tmp_path)


@pytest.fixture
def remote(tmp_path):
    made = new_storage("memory", tmp_path)
    yield made
    made.close()


def put(storage, name, *lines, end=b"\n"):
    storage.write_bytes(f"{FOLDER}/{name}", b"".join(line + end for line in lines))


def files(storage):
    return sorted(storage.sizes(FOLDER))


def test_records_are_in_one_file_sorted_by_shard_at_the_end(storage):
    writer = RecordWriter(storage)
    for shard in ("c", "a", "b"):
        writer.add(FOLDER, record_of(shard))
    writer.close()
    assert files(storage) == [RECORDS]
    assert storage.read_bytes(f"{FOLDER}/{RECORDS}") == b"".join(line_of(shard) + b"\n" for shard in "abc")
    assert read_lines(storage, FOLDER) == {shard: line_of(shard) for shard in "abc"}


def test_folder_without_records_has_no_lines_and_gets_no_file(storage):
    assert read_lines(storage, FOLDER) == {}
    writer = RecordWriter(storage)
    writer.remove(FOLDER, [])
    writer.close()
    assert files(storage) == []


def test_record_is_on_a_local_disk_when_add_returns(local):
    writer = RecordWriter(local)
    for shard in ("a", "b"):
        writer.add(FOLDER, record_of(shard))
        assert read_lines(local, FOLDER)[shard] == line_of(shard)
    assert files(local) == [FIRST]


def test_remote_lines_are_collected_until_flush(remote):
    writer = RecordWriter(remote)
    writer.add(FOLDER, record_of("a"))
    writer.add(FOLDER, record_of("b"))
    assert files(remote) == []
    writer.flush()
    assert files(remote) == [FIRST]
    assert read_lines(remote, FOLDER).keys() == {"a", "b"}
    writer.flush()
    assert files(remote) == [FIRST], "nothing was left to write"
    writer.add(FOLDER, record_of("c"))
    writer.flush()
    assert files(remote) == [FIRST, SECOND]


def test_remote_lines_are_written_no_more_often_than_asked_for(remote, monkeypatch):
    now = 100.0
    monkeypatch.setattr("pipeline.store.record_log.time.monotonic", lambda: now)
    writer = RecordWriter(remote)
    writer.add(FOLDER, record_of("a"))
    for now, expected in ((104.9, []), (105.0, [FIRST]), (105.1, [FIRST])):  # noqa: B007  the clock above
        writer.flush(older_than_s=5.0)
        assert files(remote) == expected
        if expected:
            writer.add(FOLDER, record_of("b"))
    now = 110.0
    writer.flush(older_than_s=5.0)
    assert files(remote) == [FIRST, SECOND]


def test_removal_is_written_when_it_returns_with_what_came_before(storage):
    put(storage, RECORDS, line_of("a"), line_of("b"))
    writer = RecordWriter(storage)
    writer.add(FOLDER, record_of("c"))
    writer.remove(FOLDER, ["a", "no such shard"])
    assert read_lines(storage, FOLDER).keys() == {"b", "c"}
    writer.close()
    assert read_lines(storage, FOLDER).keys() == {"b", "c"}


def test_record_that_is_added_after_its_removal_counts(storage):
    put(storage, RECORDS, line_of("a", rows=1))
    writer = RecordWriter(storage)
    writer.remove(FOLDER, ["a"])
    writer.add(FOLDER, record_of("a", rows=2))
    writer.close()
    assert read_lines(storage, FOLDER) == {"a": line_of("a", rows=2)}


def test_later_lines_and_later_files_win(storage):
    put(storage, RECORDS, line_of("a", rows=1), line_of("b", rows=1))
    put(storage, SECOND, line_of("b", rows=4), line_of("b", rows=5))
    put(storage, FIRST, line_of("a", rows=2), line_of("b", rows=3))
    assert read_lines(storage, FOLDER) == {"a": line_of("a", rows=2), "b": line_of("b", rows=5)}


def test_files_of_other_names_have_no_records(storage):
    for name in ("records-1.jsonl", "records-00000a.jsonl", "records-000001.jsonl.tmp", "records.json", "a.parquet"):
        put(storage, name, line_of("a"))
    assert read_lines(storage, FOLDER) == {}


def test_line_cut_off_at_any_byte_is_no_record_and_those_before_count(storage):
    whole = line_of("a") + b"\n" + line_of("b") + b"\n"
    first = len(line_of("a"))
    for end in range(len(whole) + 1):
        storage.write_bytes(f"{FOLDER}/{FIRST}", whole[:end])
        expected = [shard for shard, size in (("a", first), ("b", len(whole) - 1)) if end >= size]
        assert read_lines(storage, FOLDER) == {shard: line_of(shard) for shard in expected}, end


def test_cut_line_leaves_the_earlier_record_of_its_shard(storage):
    put(storage, RECORDS, line_of("a", rows=1))
    put(storage, FIRST, line_of("a", rows=2)[:-1], end=b"")
    assert read_lines(storage, FOLDER) == {"a": line_of("a", rows=1)}


def test_lines_behind_a_cut_one_are_in_another_file(storage):
    put(storage, FIRST, line_of("a"), line_of("b")[:20], end=b"")
    put(storage, FIRST, line_of("a"), line_of("b")[:20])
    writer = RecordWriter(storage)
    writer.add(FOLDER, record_of("c"))
    writer.flush()
    assert read_lines(storage, FOLDER).keys() == {"a", "c"}
    assert files(storage) == [FIRST, RECORDS], "what the killed build left is joined first"


def test_next_build_joins_what_a_killed_one_left(storage):
    put(storage, RECORDS, line_of("a", rows=1), line_of("b", rows=1))
    killed = RecordWriter(storage)
    killed.remove(FOLDER, ["b"])
    killed.add(FOLDER, record_of("a", rows=2))
    killed.add(FOLDER, record_of("c"))
    killed.flush()
    before = read_lines(storage, FOLDER)
    assert before == {"a": line_of("a", rows=2), "c": line_of("c")}
    writer = RecordWriter(storage)
    writer.remove(FOLDER, [])
    assert read_lines(storage, FOLDER) == before
    writer.add(FOLDER, record_of("d"))
    writer.flush()
    assert files(storage) == [FIRST, RECORDS]
    assert storage.read_bytes(f"{FOLDER}/{FIRST}") == line_of("d") + b"\n"
    writer.close()
    assert read_lines(storage, FOLDER) == before | {"d": line_of("d")}


class Killed(Exception):
    """The process ends here."""


def kill_at(monkeypatch, storage, number, *, is_after):
    """End at the `number`-th write or removal from now on, before or after it took place. Returns those counted."""
    seen = []
    for name in ("write_bytes", "remove"):
        real = getattr(storage, name)

        def counted(rel, *content, real=real, name=name, **how):
            seen.append((name, rel.rpartition("/")[2]))
            if len(seen) == number and not is_after:
                raise Killed
            real(rel, *content, **how)
            if len(seen) == number:
                raise Killed

        monkeypatch.setattr(storage, name, counted)
    return seen


def with_three_files(storage):
    """Records of a finished build, and two files that a running one added."""
    put(storage, RECORDS, *(line_of(shard, rows=1) for shard in ("a", "b", "c", "d")))
    removed = b'{"removed": "%s"}'
    put(storage, FIRST, removed % b"a", line_of("b", rows=2), removed % b"c", line_of("e", rows=2))
    put(storage, SECOND, removed % b"b", line_of("c", rows=3), removed % b"e", line_of("f", rows=3))


JOINED = {"c": line_of("c", rows=3), "d": line_of("d", rows=1), "f": line_of("f", rows=3)}


def test_joining_writes_all_and_then_removes_files_first_to_last(storage, monkeypatch):
    with_three_files(storage)
    seen = kill_at(monkeypatch, storage, 0, is_after=False)
    writer = RecordWriter(storage)
    writer.remove(FOLDER, [])
    writer._of(FOLDER)
    assert seen == [("write_bytes", RECORDS), ("remove", FIRST), ("remove", SECOND)]
    assert files(storage) == [RECORDS]
    assert read_lines(storage, FOLDER) == JOINED


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_kill_at_any_point_of_joining_changes_no_record(storage, monkeypatch, number, is_after):
    with_three_files(storage)
    assert read_lines(storage, FOLDER) == JOINED
    with monkeypatch.context() as patch:
        kill_at(patch, storage, number, is_after=is_after)
        with pytest.raises(Killed):
            RecordWriter(storage).add(FOLDER, record_of("z"))
    assert read_lines(storage, FOLDER) == JOINED
    for again in range(1, 4):  # the next build may be killed, too
        with monkeypatch.context() as patch:
            kill_at(patch, storage, again, is_after=is_after)
            writer = RecordWriter(storage)
            try:
                writer._of(FOLDER)
            except Killed:
                assert read_lines(storage, FOLDER) == JOINED
    writer = RecordWriter(storage)
    writer.add(FOLDER, record_of("g"))
    writer.close()
    assert files(storage) == [RECORDS]
    assert read_lines(storage, FOLDER) == JOINED | {"g": line_of("g")}


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_kill_while_a_build_ends_changes_no_record(local, monkeypatch, number, is_after):
    put(local, RECORDS, line_of("a", rows=1), line_of("b", rows=1))
    writer = RecordWriter(local)
    writer.remove(FOLDER, ["a"])
    writer.add(FOLDER, record_of("b", rows=2))
    before = read_lines(local, FOLDER)
    assert before == {"b": line_of("b", rows=2)}
    with monkeypatch.context() as patch:
        kill_at(patch, local, number, is_after=is_after)
        with pytest.raises(Killed):
            writer.close()
    assert read_lines(local, FOLDER) == before
    RecordWriter(local)._of(FOLDER)
    assert read_lines(local, FOLDER) == before
    assert files(local) == [RECORDS]


def test_file_behind_number_999999_counts_last(storage):
    for rows, name in enumerate(("records-999999.jsonl", "records-1000000.jsonl", "records-1000001.jsonl")):
        put(storage, name, line_of("a", rows=rows))
    assert read_lines(storage, FOLDER) == {"a": line_of("a", rows=2)}


def test_many_files_of_a_long_remote_build_become_one_on_the_way(remote, monkeypatch):
    monkeypatch.setattr("pipeline.store.record_log.MOST_ADDED", 3)
    writer = RecordWriter(remote)
    counts = []
    for number in range(10):
        writer.add(FOLDER, record_of(f"{number:02d}"))
        writer.flush()
        assert len(read_lines(remote, FOLDER)) == number + 1
        counts.append(len(files(remote)))
    assert counts == [1, 2, 1, 2, 3, 2, 3, 4, 3, 4]
    writer.close()
    assert files(remote) == [RECORDS]
    assert len(read_lines(remote, FOLDER)) == 10


def vanishing(monkeypatch, storage, times):
    """A build joins its files in the moment in which a reader has listed them, `times` times, and goes on."""
    real, left = storage.contents, list(range(times))
    other = Storage(storage.url)
    build = RecordWriter(other)

    def joined_first(rels):
        rels = list(rels)
        if left:
            build._of(FOLDER).join()
            build.add(FOLDER, record_of(f"new {left.pop()}"))
            build.flush()
        return real(rels)

    monkeypatch.setattr(storage, "contents", joined_first)


def test_reader_that_listed_a_file_which_is_gone_reads_again(storage, monkeypatch):
    with_three_files(storage)
    vanishing(monkeypatch, storage, 1)
    assert read_lines(storage, FOLDER) == JOINED | {"new 0": line_of("new 0")}


def test_reader_gives_up_when_files_vanish_each_time(storage, monkeypatch):
    with_three_files(storage)
    with monkeypatch.context() as patch:
        vanishing(patch, storage, 3)
        assert read_lines(storage, FOLDER) == JOINED | {f"new {n}": line_of(f"new {n}") for n in range(3)}
    vanishing(monkeypatch, storage, 100)
    with pytest.raises(FileNotFoundError):
        read_lines(storage, FOLDER)


class FullDisk:
    """A handle that takes a part of the bytes, and then no more until there is room."""

    def __init__(self, handle, room):
        self.handle, self.room = handle, room

    def write(self, data):
        if not self.room:
            raise OSError(28, "No space left on device")
        taken = self.handle.write(data[: self.room])
        self.room -= taken
        return taken

    def close(self):
        self.handle.close()


@pytest.mark.parametrize("room", [0, 1, 30, len(line_of("b"))])
def test_line_that_a_full_disk_cut_off_spoils_no_later_one(local, room):
    put(local, RECORDS, line_of("c"))
    writer = RecordWriter(local)
    writer.add(FOLDER, record_of("a"))
    added = writer._of(FOLDER)
    added._handle = FullDisk(added._handle, room)
    with pytest.raises(OSError, match="No space left"):
        writer.add(FOLDER, record_of("b"))
    assert read_lines(local, FOLDER).keys() - {"b"} == {"a", "c"}
    writer.remove(FOLDER, ["c"])  # there is room again
    assert read_lines(local, FOLDER).keys() == {"a", "b"}
    writer.close()
    assert read_lines(local, FOLDER).keys() == {"a", "b"}
    assert files(local) == [RECORDS]


def test_line_that_is_taken_in_parts_is_written_whole(local):
    class Slow(FullDisk):
        def write(self, data):
            return self.handle.write(data[:7])

    writer = RecordWriter(local)
    writer.add(FOLDER, record_of("a"))
    added = writer._of(FOLDER)
    added._handle = Slow(added._handle, 0)
    writer.add(FOLDER, record_of("b"))
    assert read_lines(local, FOLDER) == {"a": line_of("a"), "b": line_of("b")}
    writer.close()


def test_stages_do_not_share_records(storage):
    writer = RecordWriter(storage)
    writer.add(FOLDER, record_of("a"))
    writer.add("stages/y-1", record_of("b"))
    writer.remove("stages/y-1", ["a"])
    writer.close()
    assert read_lines(storage, FOLDER) == {"a": line_of("a")}
    assert read_lines(storage, "stages/y-1") == {"b": line_of("b")}


@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", "\u00e9", 'a"b', "a\\b", "\udcff"])
def test_any_name_of_a_shard_is_one_line(storage, name):
    writer = RecordWriter(storage)
    writer.add(FOLDER, record_of("b"))
    writer.add(FOLDER, record_of(name))
    writer.close()
    assert read_lines(storage, FOLDER) == {"b": line_of("b"), name: line_of(name)}
    writer = RecordWriter(storage)
    writer.remove(FOLDER, [name])
    assert read_lines(storage, FOLDER).keys() == {"b"}
    writer.close()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_kill_while_files_become_one_changes_no_record(remote, monkeypatch, number, is_after):
    monkeypatch.setattr("pipeline.store.record_log.MOST_ADDED", 3)
    put(remote, RECORDS, line_of("a", rows=1), line_of("b", rows=1))
    writer = RecordWriter(remote)
    writer.remove(FOLDER, ["a", "b"])
    writer.add(FOLDER, record_of("a", rows=2))
    writer.remove(FOLDER, ["a"])
    writer.add(FOLDER, record_of("c", rows=2))
    with monkeypatch.context() as patch:
        kill_at(patch, remote, number, is_after=is_after)
        with pytest.raises(Killed):
            writer.flush()
    is_written = number > 1 or is_after
    assert read_lines(remote, FOLDER) == ({"c": line_of("c", rows=2)} if is_written else {})


def test_flush_of_a_local_file_reaches_the_disk_once(local, monkeypatch):
    synced = []
    monkeypatch.setattr("pipeline.store.record_log.os.fsync", synced.append)
    writer = RecordWriter(local)
    writer.add(FOLDER, record_of("a"))
    assert synced == []
    writer.flush()
    writer.flush()
    assert len(synced) == 1
    writer.add(FOLDER, record_of("b"))
    writer.flush()
    assert len(synced) == 2
