"""Downloads that are tried again, and those that are kept, when a marker asks for it."""

import pytest
from _inputs import jpeg
from _laion import Table, rows_of
from _web import Answer, Web

from stages.download.status import LaionReject
from stages.read_laion import ReadLaion


@pytest.fixture
def web():
    served = Web({f"/{n}.jpg": Answer(jpeg(n)) for n in range(12)})
    yield served
    served.close()


@pytest.fixture
def failed(tmp_path, web):
    """A downloaded shard with all kinds of ends, in a web that has got better since."""
    web.answers["/1.jpg"] = [Answer(b"", 503), Answer(jpeg(1))]
    web.answers["/2.jpg"] = [Answer(b"", 404), Answer(jpeg(2))]
    web.answers["/3.jpg"] = [Answer(jpeg(3), pause_s=0.6), Answer(jpeg(3))]
    web.answers["/4.jpg"] = Answer(b"", 500)
    rows = [*rows_of(web, 6), {"URL": "nonsense", "TEXT": "x"}, {"URL": web.url("/0.jpg"), "TEXT": ""}]
    table = Table(tmp_path, rows, timeout_s=0.3)
    found, _ = table.read()
    assert [r["reject_reason"] for r in found] == [
        None, "server_busy", "http_error", "timeout", "server_busy", None, "not_an_url", "empty_caption",
    ]  # fmt: skip
    web.asked.clear()
    return table


@pytest.mark.parametrize(
    ("marker", "asked", "second"),
    [
        ("", {"/1.jpg", "/3.jpg", "/4.jpg"}, "http_error"),
        ("transient", {"/1.jpg", "/3.jpg", "/4.jpg"}, "http_error"),
        ("all\n", {"/1.jpg", "/2.jpg", "/3.jpg", "/4.jpg"}, None),
    ],
)
def test_a_marker_has_what_failed_tried_anew_and_keeps_the_rest(failed, web, marker, asked, second):
    web.asked |= {f"/{n}.jpg": 1 for n in range(1, 5)}  # each of them answers better now
    before = dict(web.asked)
    (failed.store.folder / "part-00000.retry").write_text(marker)
    found, _ = failed.read()
    assert {path for path in web.asked if web.asked[path] > before.get(path, 0)} == asked
    assert [r["reject_reason"] for r in found] == [
        None, None, second, None, "server_busy", None, "not_an_url", "empty_caption",
    ]  # fmt: skip
    assert [r["source_raw"] for r in found if r["reject_reason"] is None] == [
        jpeg(n) for n in range(6) if n != 4 and (n != 2 or second is None)
    ]
    assert [s.key for s in failed.statuses()] == [f"{n:09d}" for n in range(8)]
    assert not (failed.store.folder / "part-00000.retry").exists()
    again = dict(web.asked)
    assert failed.read()[0] == found
    assert web.asked == again


def test_a_retry_that_was_cut_between_tar_and_status_is_done_over(failed, web):
    web.asked |= {f"/{n}.jpg": 1 for n in range(1, 5)}
    old = (failed.store.folder / "part-00000.status.parquet").read_bytes()
    (failed.store.folder / "part-00000.retry").touch()
    expected, _ = failed.read()
    (failed.store.folder / "part-00000.status.parquet").write_bytes(old)
    (failed.store.folder / "part-00000.retry").touch()
    assert failed.read()[0] == expected


def test_a_marker_on_a_shard_that_was_never_downloaded_changes_nothing(tmp_path, web):
    table = Table(tmp_path, rows_of(web, 2))
    (table.store.folder / "part-00000.retry").touch()
    assert [r["reject_reason"] for r in table.read()[0]] == [None, None]
    assert not (table.store.folder / "part-00000.retry").exists()
    assert set(web.asked.values()) == {1}


def test_a_marker_with_nothing_to_try_is_removed(tmp_path, web):
    table = Table(tmp_path, rows_of(web, 2))
    first, _ = table.read()
    (table.store.folder / "part-00000.retry").touch()
    assert table.read()[0] == first
    assert not (table.store.folder / "part-00000.retry").exists()


def test_what_may_be_tried_again_is_declared():
    assert ReadLaion.retryable == {"dns_failure", "connection_failure", "timeout", "server_busy"}
    assert ReadLaion.retryable < {reason.value for reason in LaionReject}


def test_what_no_retry_can_change_is_what_was_never_asked_for():
    assert {"missing_caption", "filtered_punsafe", "not_an_url"} <= ReadLaion.final
    assert not ReadLaion.final & ReadLaion.retryable
    assert "http_error" not in ReadLaion.final
