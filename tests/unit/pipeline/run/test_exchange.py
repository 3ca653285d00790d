"""Rows that steps of rounds send to each other: in order, in parts, through local and remote files."""

import random
import uuid

import numpy as np
import pyarrow as pa
import pytest

from core.errors import DamagedFileError
from pipeline.run.exchange import Inbox, Outbox
from pipeline.store.run_folder import EXCHANGE
from pipeline.store.storage import Storage, describe_file

STAGE, RUN = "stages/x-1", "digest"


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    made = Storage(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}/run")
    yield made
    made.close()


def table(start, count, text=""):
    return pa.table({"row": pa.array(range(start, start + count), pa.int64()), "text": [text] * count})


def outbox(storage, step="_0-00000", run=RUN):
    return Outbox(storage, STAGE, run, step)


def inbox(storage, destinations, run=RUN):
    return Inbox(storage, STAGE, run, destinations)


def received(storage, to, stream="a", run=RUN):
    """Numbers of the rows sent to one destination."""
    tables = inbox(storage, range(to, to + 1), run).received(stream)
    return [row for found in tables for row in found["row"].to_pylist()]


def one_file(storage, stream="a"):
    (name,) = storage.sizes(f"{STAGE}/{EXCHANGE}/{RUN}/{stream}")
    return f"{STAGE}/{EXCHANGE}/{RUN}/{stream}/{name}"


def test_rows_arrive_where_they_were_sent_in_the_order_of_sending(storage):
    for step in ("_0-00001", "_0-00000"):  # files count in the order of their names
        box = outbox(storage, step)
        base = 1000 * int(step[-1])
        box.send("a", table(base, 6), np.array([2, 0, 2, 1, 0, 2]))
        box.send("a", table(base + 6, 4), np.array([1, 2, 0, 0]))
        box.write()
    assert received(storage, 0) == [1, 4, 8, 9, 1001, 1004, 1008, 1009]
    assert received(storage, 1) == [3, 6, 1003, 1006]
    assert received(storage, 2) == [0, 2, 5, 7, 1000, 1002, 1005, 1007]


def test_destination_that_nothing_was_sent_to_receives_nothing(storage):
    box = outbox(storage)
    box.send("a", table(0, 2), np.array([0, 9]))
    box.write()
    assert [received(storage, to) for to in (0, 1, 8, 9, 10)] == [[0], [], [], [1], []]
    assert list(inbox(storage, range(3)).received("no such stream")) == []
    assert list(inbox(storage, range(0)).received("a")) == []


def test_step_that_sends_nothing_writes_no_file(storage):
    box = outbox(storage)
    box.send("a", table(0, 0), np.array([], np.int64))
    assert box.write() == {}
    assert outbox(storage, "_0-00001").write() == {}
    assert storage.folders(STAGE) == []


def test_range_of_destinations_is_read_at_once_and_by_number(storage):
    box = outbox(storage)
    to = np.arange(40) % 5
    box.send("a", table(0, 40), to)
    box.write()
    box = inbox(storage, range(1, 4))
    assert [row for found in box.received("a") for row in found["row"].to_pylist()] == [
        row for number in (1, 2, 3) for row in range(number, 40, 5)
    ]
    for number in (3, 1, 2):
        assert [row for t in box.received_by(number, "a") for row in t["row"].to_pylist()] == list(range(number, 40, 5))
    assert list(box.received_by(4, "a")) == [], "outside of the range"


def test_streams_and_runs_are_apart(storage):
    for start, run, stream in ((0, RUN, "a"), (10, RUN, "b"), (20, "other", "a")):
        box = outbox(storage, run=run)
        box.send(stream, table(start, 2), np.zeros(2, np.int64))
        box.write()
    assert received(storage, 0) == [0, 1]
    assert received(storage, 0, "b") == [10, 11]
    assert received(storage, 0, run="other") == [20, 21]


def test_types_and_missing_values_come_back(storage):
    rows = pa.table({
        "text": pa.array(["ä", None, ""]), "hash": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "lists": pa.array([[1], None, []], pa.list_(pa.int32())),
    })  # fmt: skip
    box = outbox(storage)
    box.send("a", rows, np.array([1, 1, 1]))
    box.write()
    (found,) = inbox(storage, range(1, 2)).received("a")
    assert found.equals(rows)


def test_files_are_listed_with_size_and_hash_and_leave_no_temporary_ones(storage, tmp_path):
    box = outbox(storage)
    box.send("a", table(0, 3), np.array([0, 1, 0]))
    box.send("b", table(0, 1), np.array([5]))
    files = box.write()
    assert sorted(files) == [f"{EXCHANGE}/{RUN}/{stream}/_0-00000.blocks" for stream in "ab"]
    for name, entry in files.items():
        (tmp_path / "copy").write_bytes(storage.read_bytes(f"{STAGE}/{name}"))
        assert describe_file(tmp_path / "copy") == entry
    assert [path for path in storage.scratch().iterdir() if path.suffix == ".blocks"] == []


def test_same_rows_give_the_same_bytes_however_they_were_sent(storage):
    to = np.random.default_rng(0).integers(0, 7, 300)
    contents = []
    for size in (1, 37, 300):
        box = outbox(storage)
        for start in range(0, 300, size):
            box.send("a", table(start, 300).slice(0, size).slice(0, 300 - start), to[start : start + size])
        box.write()
        contents.append(storage.read_bytes(one_file(storage)))
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("num_destinations", [1, 3, 700])
def test_file_larger_than_its_tail_is_read_in_parts(storage, monkeypatch, num_destinations):
    tail, count = 2000, 2100
    monkeypatch.setattr("pipeline.run.exchange.TAIL_BYTES", tail)
    texts = pa.array([random.Random(n).randbytes(30).hex() for n in range(count)])
    rows = table(0, count).set_column(1, "text", texts)
    to = np.arange(count) * 11 % num_destinations
    box = outbox(storage)
    box.send("a", rows, to)
    box.write()
    size = len(storage.read_bytes(one_file(storage)))
    assert size > 20 * tail
    asked = []
    real = storage.read_range
    monkeypatch.setattr(storage, "read_range", lambda rel, a, b: (asked.append(b - a), real(rel, a, b))[1])
    most = 0
    for number in {0, num_destinations // 2, num_destinations - 1}:
        asked.clear()
        (found,) = inbox(storage, range(number, number + 1)).received("a")
        assert found.equals(rows.filter(pa.array(to == number)).combine_chunks())
        assert sum(asked) <= tail + size / num_destinations + 12_000, "the tail, all places, and one block"
        most = max(most, len(asked))
    assert most == (3 if num_destinations == 700 else 2), "the places of many blocks are longer than the tail"


def test_small_file_is_one_request(storage, monkeypatch):
    box = outbox(storage)
    box.send("a", table(0, 100), np.arange(100) % 4)
    box.write()
    asked = []
    real = storage.read_range
    monkeypatch.setattr(storage, "read_range", lambda rel, a, b: (asked.append(rel), real(rel, a, b))[1])
    assert received(storage, 2) == list(range(2, 100, 4))
    assert len(asked) == 1


def test_wrong_number_of_destinations_is_refused(storage):
    with pytest.raises(ValueError, match=r"^stream a: 3 rows and 2 destinations$"):
        outbox(storage).send("a", table(0, 3), np.array([0, 1]))


@pytest.fixture
def sent(tmp_path):
    """(storage, path of its one file of a few destinations)."""
    storage = Storage(str(tmp_path / "run"))
    box = outbox(storage)
    box.send("a", table(0, 20, text="some words"), np.arange(20) % 3)
    box.write()
    return storage, tmp_path / "run" / one_file(storage)


def outcome(storage):
    """The rows, or the message about a damaged file."""
    try:
        return [found["row"].to_pylist() for found in inbox(storage, range(3)).received("a")]
    except DamagedFileError as error:
        return str(error)


def test_file_cut_at_any_byte_is_named(sent):
    storage, path = sent
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        message = outcome(storage)
        assert str(message).startswith(f"{one_file(storage)} cannot be read ("), end
        assert message.endswith("); remove it and build again")


def test_file_with_any_flipped_byte_is_named_or_read_right(sent):
    storage, path = sent
    whole = path.read_bytes()
    right = outcome(storage)
    assert right == [list(range(to, 20, 3)) for to in range(3)]
    num_right = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        found = outcome(storage)
        num_right += found == right
        assert found == right or str(found).startswith(f"{one_file(storage)} cannot be read ("), at
    assert num_right < 3


@pytest.mark.parametrize("content", [b"\0" * 8, b"\0" * 5000, b"\xff" * 5000, b"PAR1" * 300])
def test_file_of_another_kind_is_named(sent, content):
    storage, path = sent
    path.write_bytes(content)
    assert str(outcome(storage)).startswith(f"{one_file(storage)} cannot be read (")
