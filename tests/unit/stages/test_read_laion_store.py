"""A downloaded shard after its table is moved or its store damaged, and how later stages read it."""

import os
import shutil

import pytest
from _inputs import jpeg
from _laion import Table, laion_stage, rows_of
from _web import Answer, Web

from core.errors import ShardFailed
from pipeline.context import Context

NUM_ROWS = 6


@pytest.fixture
def web():
    served = Web({f"/{n}.jpg": Answer(jpeg(n)) for n in range(12)})
    yield served
    served.close()


@pytest.fixture(params=[None, 40], ids=["as received", "shrunk"])
def downloaded(request, tmp_path, web):
    """A table that was downloaded, with one URL that failed. Then the web stopped."""
    web.answers["/4.jpg"] = Answer(b"", 404)
    table = Table(tmp_path, rows_of(web, NUM_ROWS), stored_side_px=request.param)
    table.first, _ = table.read()
    web.asked.clear()
    web.answers.clear()
    return table


def status_file(table):
    return table.store.folder / "part-00000.status.parquet"


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(data)


def rows_read(table, folder):
    """Rows of the same table at another place, by the same store."""
    stage = laion_stage(stored_side_px=table.stage.stored_side_px)
    read = stage.open(Context(stage_name="read_laion", store=table.store))
    return [r for shard in stage.list_shards([str(folder)]) for t in read(shard) for r in t.to_pylist()]


def test_a_table_that_was_touched_keeps_its_downloads(downloaded, web):
    os.utime(downloaded.path, (1, 1))
    assert rows_read(downloaded, downloaded.path) == downloaded.first
    assert not web.asked


def test_a_table_that_was_moved_or_copied_keeps_its_downloads(downloaded, web, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.move(downloaded.path, tmp_path / "elsewhere" / "part.parquet")
    assert rows_read(downloaded, tmp_path / "elsewhere" / "part.parquet") == downloaded.first
    assert not web.asked


@pytest.mark.parametrize("column", ["URL", "TEXT", "NSFW"])
def test_a_table_with_another_value_is_downloaded_anew(tmp_path, web, column):
    rows = rows_of(web, 2, NSFW=["UNLIKELY", "UNLIKELY"])
    Table(tmp_path, rows).read()
    rows[1][column] = web.url("/7.jpg")
    found, _ = Table(tmp_path, rows).read()
    assert found[1]["source_raw"] == jpeg(7 if column == "URL" else 1)
    assert web.url("/7.jpg") in (found[1]["source_url"], found[1]["caption"], *found[1]["source_metadata"].split('"'))


def test_a_table_that_was_replaced_is_downloaded_anew(tmp_path, web):
    Table(tmp_path, rows_of(web, 2)).read()
    rows, _ = Table(tmp_path, rows_of(web, 4)[2:]).read()
    assert [row["caption"] for row in rows] == ["caption 2", "caption 3"]
    assert [row["source_raw"] for row in rows] == [jpeg(2), jpeg(3)]


def test_of_a_tar_that_was_cut_only_the_lost_images_are_asked_for(downloaded, web):
    whole = downloaded.tar().read_bytes()
    lost_from = whole.index(b"000000003.jpg") + 600  # within the image
    downloaded.tar().write_bytes(whole[:lost_from])
    web.answers["/3.jpg"] = Answer(jpeg(3))
    found, _ = downloaded.read()
    assert web.asked == {"/3.jpg": 1, "/5.jpg": 1}
    assert found[:5] == downloaded.first[:5]
    assert found[5]["reject_reason"] == "http_error", "its URL has died since"
    web.asked.clear()
    assert downloaded.read()[0] == found
    assert not web.asked


def test_of_a_tar_with_a_changed_byte_only_that_image_is_asked_for(downloaded, web):
    flip(downloaded.tar(), downloaded.tar().read_bytes().index(b"000000001.jpg") + 700)
    web.answers["/1.jpg"] = Answer(jpeg(1))
    assert downloaded.read()[0] == downloaded.first
    assert web.asked == {"/1.jpg": 1}


def test_a_changed_byte_between_images_is_repaired_without_requests(downloaded, web):
    whole = downloaded.tar().read_bytes()
    flip(downloaded.tar(), whole.index(b"caption 2"))
    assert downloaded.read()[0] == downloaded.first
    assert downloaded.tar().read_bytes() == whole
    assert not web.asked


@pytest.mark.parametrize("content", [None, b"", b"no tar" * 200])
def test_a_tar_that_is_gone_is_downloaded_again_and_failures_stay(downloaded, web, content):
    downloaded.tar().unlink()
    if content is not None:
        downloaded.tar().write_bytes(content)
    web.answers |= {f"/{n}.jpg": Answer(jpeg(n)) for n in range(NUM_ROWS)}
    assert downloaded.read()[0] == downloaded.first
    assert set(web.asked) == {f"/{n}.jpg" for n in range(NUM_ROWS) if n != 4}


def test_a_status_table_that_cannot_be_read_is_made_anew(downloaded, web):
    status_file(downloaded).write_bytes(b"PAR1")
    web.answers |= {f"/{n}.jpg": Answer(jpeg(n)) for n in range(NUM_ROWS) if n != 4}
    assert downloaded.read()[0] == downloaded.first


def test_a_later_stage_reads_what_is_stored_and_never_the_table_or_the_web(downloaded, web):
    downloaded.path.unlink()
    (downloaded.store.folder / "part-00000.retry").write_text("all")
    assert downloaded.read(is_rereading=True)[0] == downloaded.first
    assert not web.asked
    assert (downloaded.store.folder / "part-00000.retry").exists()


@pytest.mark.parametrize("lost", ["part-00000.tar", "part-00000.status.parquet"])
def test_a_later_stage_without_a_file_names_the_fix_and_asks_no_server(downloaded, web, lost):
    (downloaded.store.folder / lost).unlink()
    with pytest.raises(ShardFailed) as failed:
        downloaded.read(is_rereading=True)
    assert str(failed.value) == (
        f"{lost} of stage read_laion is not there any more; build again: what is missing is downloaded anew"
    )
    assert not web.asked


ADVICE = (
    r"; remove part-00000\.parquet in the folder of stage read_laion and build again: "
    "what is damaged is downloaded anew"
)


@pytest.mark.parametrize("damage", ["emptied", "cut", "no tar", "a byte changed"])
def test_a_later_stage_that_finds_a_damaged_tar_says_what_to_do(downloaded, web, damage):
    whole = downloaded.tar().read_bytes()
    place = whole.index(b"000000001.jpg") + 700
    contents = {"emptied": b"", "cut": whole[:place], "no tar": b"no tar" * 200}
    downloaded.tar().write_bytes(contents.get(damage, whole))
    if damage == "a byte changed":
        flip(downloaded.tar(), place)
    message = rf"^part-00000\.tar of stage read_laion: sample 00000000\d is missing or damaged{ADVICE}$"
    with pytest.raises(ShardFailed, match=message):
        downloaded.read(is_rereading=True)
    assert not web.asked


def test_a_later_stage_that_finds_a_damaged_status_table_says_what_to_do(downloaded):
    status_file(downloaded).write_bytes(b"PAR1")
    message = rf"^part-00000\.status\.parquet of stage read_laion: no status table \(.*\){ADVICE}$"
    with pytest.raises(ShardFailed, match=message):
        downloaded.read(is_rereading=True)
