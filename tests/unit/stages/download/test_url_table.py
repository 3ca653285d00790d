"""Tables that cannot be read for a moment, and URLs that are too long to be any."""

import errno
import io

import pytest
from _inputs import jpeg
from _laion import Table, rows_of
from _web import Answer, Web

from core.errors import ShardFailed, is_transient
from pipeline.context import Context
from stages.download import status
from stages.download.status import MAX_URL_CHARS, read_statuses
from stages.download.url_table import MAX_CAPTION_CHARS, MAX_METADATA_CHARS


@pytest.fixture
def web():
    served = Web({f"/{n}.jpg": Answer(jpeg(n)) for n in range(6)})
    yield served
    served.close()


class Faulty(io.BytesIO):
    """A file of which read number `left` fails, once."""

    left, fault = -1, None

    def read(self, size=-1):
        self.left -= 1
        if self.left == -1:
            raise self.fault
        return super().read(size)


class FaultyFolder:
    """A file system whose files are `data`, and the first of which is faulty."""

    def __init__(self, data, left, fault):
        self.data, self.left, self.fault = data, left, fault
        self.opened = []

    def open(self, path, mode):
        self.opened.append(Faulty(self.data))
        self.opened[-1].fault = self.fault
        self.opened[-1].left = self.left if len(self.opened) == 1 else -1
        return self.opened[-1]


def faulty_shards(table, monkeypatch, left, fault):
    """(what the first read of the first shard raised, statuses of all shards after that, the file system)."""
    folder = FaultyFolder(table.path.read_bytes(), left, fault)
    monkeypatch.setattr("stages.inputs.parquet_rows.url_to_fs", lambda url: (folder, url))
    read = table.stage.open(Context(stage_name="read_laion", store=table.store))
    raised = None
    try:
        list(read(table.shards[0]))
    except (OSError, ShardFailed) as error:
        raised = error
    rows = [r["reject_reason"] for shard in table.shards for t in read(shard) for r in t.to_pylist()]
    return raised, rows, folder


@pytest.mark.parametrize("left", range(3))
@pytest.mark.parametrize(
    "fault", [TimeoutError("timed out"), OSError(errno.EIO, "device"), ConnectionResetError("reset")], ids=repr
)
def test_a_temporary_fault_is_left_for_the_engine_to_retry(tmp_path, web, monkeypatch, left, fault):
    table = Table(tmp_path, rows_of(web, 6), rows_per_shard=2)
    raised, rows, folder = faulty_shards(table, monkeypatch, left, fault)
    assert is_transient(raised)
    assert type(raised) is type(fault)
    assert rows == [None] * 6
    assert len(folder.opened) == 2
    assert folder.opened[0].closed


@pytest.mark.parametrize("left", range(3))
def test_a_table_that_was_repaired_is_read_again(tmp_path, web, monkeypatch, left):
    table = Table(tmp_path, rows_of(web, 6), rows_per_shard=2)
    raised, rows, folder = faulty_shards(table, monkeypatch, left, OSError("page is cut off"))
    assert isinstance(raised, ShardFailed)
    assert "page is cut off" in str(raised)
    assert rows == [None] * 6
    assert folder.opened[0].closed


def test_a_status_table_with_a_temporary_fault_is_not_called_damaged(tmp_path, monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, "device")

    monkeypatch.setattr(status.pq, "read_table", fail)
    with pytest.raises(OSError, match="device"):
        read_statuses(tmp_path / "x.parquet")


def test_a_url_that_is_too_long_is_shortened_and_never_requested(tmp_path, web):
    longest = web.url("/0.jpg?")
    longest += "a" * (MAX_URL_CHARS - len(longest))
    web.answers[longest.removeprefix(web.url(""))] = Answer(jpeg(0))
    table = Table(tmp_path, [{"URL": longest, "TEXT": "x"}, {"URL": f"{longest}a", "TEXT": "x"}])
    found, _ = table.read()
    assert [r["reject_reason"] for r in found] == [None, "not_an_url"]
    assert found[1]["reject_detail"] == f"more than {MAX_URL_CHARS} characters"
    assert table.statuses()[1].url == f"{longest}…"
    assert len(web.asked) == 1
    (table.store.folder / "part-00000.retry").write_text("all")
    table.read()
    assert sum(web.asked.values()) == 1


def test_texts_that_a_table_loses_leave_notes(tmp_path, web):
    rows = rows_of(web, 4, page=["", "", "x" * (MAX_METADATA_CHARS + 1), ""])
    rows[1]["TEXT"] = "x" * (MAX_CAPTION_CHARS + 1)
    found, notes = Table(tmp_path, rows).read()
    assert [len(r["caption"]) for r in found] == [9, MAX_CAPTION_CHARS, 9, 9]
    assert notes[f"captions cut after {MAX_CAPTION_CHARS} characters"] == 1
    assert notes[f"metadata of more than {MAX_METADATA_CHARS} characters, left out"] == 1


def test_a_column_of_pixels_in_a_table_of_urls_is_noted(tmp_path, web):
    rows = rows_of(web, 2, thumbnail=[bytes(4 << 20)] * 2)
    _, notes = Table(tmp_path, rows).read()
    assert notes["column 'thumbnail' too large for metadata, not read"] == 2
