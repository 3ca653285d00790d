"""Answers with odd heads are read as browsers and urllib read them, within bounds, and count as answers."""

import asyncio
import gzip
import http.client
import io
import random
import time
import zlib

import pytest
from _inputs import jpeg
from _laion import fetched
from _web import Answer, Web

from stages.download.head import MAX_HEAD_BYTES, PlainResponses, plain_head

IMAGE = jpeg(1)
LENGTH = b"Content-Length: %d" % len(IMAGE)
TYPE = b"Content-Type: image/jpeg"


@pytest.fixture
def web():
    served = Web({"/ok.jpg": Answer(IMAGE)})
    yield served
    served.close()


def one(tmp_path, url, **options):
    (status,), _ = fetched(tmp_path, [url], **options)
    return status


def raw(*lines, status=b"HTTP/1.1 200 OK", body=IMAGE, end=b"\r\n"):
    return Answer(raw=end.join([status, *lines, b"", b""]) + body)


def chunked(body):
    pieces = [body[start : start + 500] for start in range(0, len(body), 500)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


ODD = {
    "a cookie of 9 kB": raw(TYPE, LENGTH, b"Set-Cookie: a=" + b"x" * 9000),
    "a used header of 20 kB": raw(TYPE + b"; x=" + b"y" * 20_000, LENGTH),
    "150 headers": raw(TYPE, LENGTH, *[b"X-%d: y" % n for n in range(150)]),
    "1000 headers": raw(*[b"X-%d: y" % n for n in range(1000)], TYPE, LENGTH),
    "a name with spaces": raw(b"X Cache Status: HIT", TYPE, LENGTH),
    "a space before the colon": raw(b"Content-Type : image/jpeg", b"Content-Length : %d" % len(IMAGE)),
    "no colon": raw(b"NoColonHere", TYPE, LENGTH),
    "no name": raw(b": x", TYPE, LENGTH),
    "a control character": raw(b"X-A: a\x00\x01b", TYPE, LENGTH),
    "a folded line": raw(b"Content-Type: image/\r\n jpeg", b"X-Long: one\r\n\ttwo", LENGTH),
    "a length twice": raw(TYPE, LENGTH, LENGTH),
    "a length twice in one line": raw(TYPE, LENGTH + b", %d" % len(IMAGE)),
    "two lengths": raw(TYPE, LENGTH, b"Content-Length: 9999"),
    "a length that is none": raw(TYPE, b"Content-Length: many"),
    "a length below zero": raw(TYPE, b"Content-Length: -5"),
    "a length and chunks": raw(TYPE, LENGTH, b"Transfer-Encoding: chunked", body=chunked(IMAGE)),
    "chunks twice": raw(TYPE, b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked", body=chunked(IMAGE)),
    "an unknown transfer coding": raw(TYPE, LENGTH, b"Transfer-Encoding: identity"),
    "more than the length": raw(TYPE, LENGTH, body=IMAGE + b"<!-- served in 3 ms -->"),
    "more than the length, then the end": raw(TYPE, LENGTH, b"Connection: close", body=IMAGE + b"x" * 300_000),
    "more than the chunks": raw(TYPE, b"Transfer-Encoding: chunked", body=chunked(IMAGE) + b"<!-- x -->"),
    "only line feeds": raw(TYPE, LENGTH, end=b"\n"),
    "two spaces before the status": raw(TYPE, LENGTH, status=b"HTTP/1.1  200 OK"),
    "no reason": raw(TYPE, LENGTH, status=b"HTTP/1.1 200"),
    "another version": raw(TYPE, LENGTH, status=b"HTTP/1.2 200 OK"),
    "early hints": Answer(raw=b"HTTP/1.1 103 Early\r\nLink: <x>\r\n\r\n" + raw(TYPE, LENGTH).raw),
    "five interim answers": Answer(raw=b"HTTP/1.1 100 Go on\r\n\r\n" * 5 + raw(TYPE, LENGTH).raw),
    "empty lines before it": Answer(raw=b"\r\n\r\n" + raw(TYPE, LENGTH).raw),
    "encoding aws-chunked": raw(TYPE, LENGTH, b"Content-Encoding: aws-chunked"),
    "encoding image/jpeg": raw(TYPE, LENGTH, b"Content-Encoding: image/jpeg"),
    "encoding br that is none": raw(TYPE, LENGTH, b"Content-Encoding: br"),
    "an empty encoding": raw(TYPE, LENGTH, b"Content-Encoding: ,"),
    "encoding gzip that is none": raw(TYPE, LENGTH, b"Content-Encoding: gzip"),
    "encoding deflate that is none": raw(TYPE, LENGTH, b"Content-Encoding: deflate"),
    "gzip after an unknown one": raw(TYPE, b"Content-Encoding: x, gzip", body=gzip.compress(IMAGE)),
    "deflate without a header": raw(TYPE, b"Content-Encoding: deflate", body=zlib.compress(IMAGE, wbits=-15)),
    "type jpg": raw(b"Content-Type: jpg", LENGTH),
    "type image": raw(b"Content-Type: image", LENGTH),
    "type text/html": raw(b"Content-Type: text/html; charset=utf-8", LENGTH),
    "type application/x-download": raw(b"Content-Type: application/x-download"),
}


@pytest.mark.parametrize("oddity", ODD)
def test_odd_answers_that_urllib_reads_are_read(tmp_path, web, oddity):
    web.answers["/x"] = ODD[oddity]
    (found,), images = fetched(tmp_path, [web.url("/x")])
    assert (found.status, found.error) == ("success", "")
    assert images == {"000000000": IMAGE}


@pytest.mark.parametrize(
    "oddity",
    [
        "a cookie of 9 kB", "a used header of 20 kB", "a folded line", "a length twice", "two lengths",
        "a length that is none", "a length below zero", "a length and chunks", "an unknown transfer coding",
        "two spaces before the status", "no reason", "another version",
    ],
)  # fmt: skip
def test_plain_heads_say_what_http_client_reads_in_odd_ones(oddity):
    head = ODD[oddity].raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    plain, is_interim = plain_head(head)
    assert not is_interim
    assert as_read(plain) == as_read(head)


def as_read(head):
    """(status, length, is chunked, type) that http.client sees."""
    read = http.client.HTTPResponse(Given(head))
    read.begin()
    return read.status, read.length, read.chunked, "".join(read.getheader("Content-Type").split())


class Given:
    """A socket that holds these bytes."""

    def __init__(self, data):
        self.data = data

    def makefile(self, _mode):
        return io.BytesIO(self.data)


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/bilder/große.jpg".encode(), "/bilder/gro%C3%9Fe.jpg"),
        ("/bilder/große.jpg".encode("latin-1"), "/bilder/gro%DFe.jpg"),
        (b"\\bilder\\x.jpg?a=\\b", "/bilder/x.jpg?a=%5Cb"),
    ],
)
def test_redirects_lead_where_browsers_go(tmp_path, web, location, asked):
    web.answers["/x"] = raw(b"Location: " + location, b"Content-Length: 0", status=b"HTTP/1.1 302 Found", body=b"")
    web.answers[asked] = Answer(IMAGE)
    assert one(tmp_path, web.url("/x")).status == "success"


def test_a_redirect_with_status_300_is_followed(tmp_path, web):
    web.answers["/x"] = Answer(b"", 300, {"Location": "/ok.jpg"})
    assert one(tmp_path, web.url("/x")).status == "success"


@pytest.mark.parametrize("length", [[], [b"Content-Length: 5"]])
def test_a_redirect_is_followed_before_its_page_has_come(tmp_path, web, length):
    web.answers["/x"] = raw(b"Location: /ok.jpg", *length, status=b"HTTP/1.1 302 Found", body=b"")
    web.answers["/x"].pause_s = 3
    assert one(tmp_path, web.url("/x"), timeout_s=2).status == "success"


def test_a_redirect_to_a_private_address_is_refused_in_any_spelling(tmp_path, web):
    for location in (b"\\\\10.0.0.1\\x", b"http:\\\\10.0.0.1/x", b"//10.0.0.1/\xff"):
        web.answers["/x"] = raw(b"Location: " + location, b"Content-Length: 0", status=b"HTTP/1.1 302 Found", body=b"")
        assert one(tmp_path, web.url("/x")).status in {"forbidden_address", "not_an_url"}


@pytest.mark.parametrize(
    "answer",
    [
        raw(TYPE, LENGTH, b"X: " + b"a" * MAX_HEAD_BYTES),
        raw(TYPE, *[b"X-%d: %b" % (n, b"a" * 1000) for n in range(300)], LENGTH),
        Answer(raw=b"HTTP/1.1 100 Go on\r\nX: y\r\n\r\n" * 20_000 + raw(TYPE, LENGTH).raw),
        Answer(raw=b"HTTP/1.1 200 OK\r\n" + b"a" * 300_000),
    ],
)
def test_heads_beyond_the_bound_are_refused(tmp_path, web, answer):
    web.answers["/x"] = answer
    found = one(tmp_path, web.url("/x"))
    assert found.status == "connection_failure"
    assert f"more than {MAX_HEAD_BYTES} bytes of headers" in found.error


PARTS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b"\x00", b"\xff", b"9" * 30, b"-5", b"X", b"Content-Length",
    b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding", b"Location: \xe9", b"Connection: close",
    b"Connection: upgrade", b"Upgrade: h2c", b"Content-Encoding: gzip", b"X-Robots-Tag: noai", b"HTTP/1.1 200 OK",
]  # fmt: skip


def test_the_parser_takes_every_head_that_begins_as_http():
    rng = random.Random(0)
    loop = asyncio.new_event_loop()
    for _ in range(2000):
        status = rng.choice(
            [b"HTTP/1.1 200 OK", b"HTTP/1.0 404", b"HTTP/9.9 302 x", b"http/1.1 404 \x00", b"HTTP/2 599 "]
        )
        head = status + b"\r\n" + b"".join(rng.choices(PARTS, k=rng.randrange(30))) + b"\r\n\r\n"
        handler = PlainResponses(loop)
        handler.set_response_params(read_until_eof=True, auto_decompress=False)
        for at in range(len(head)):
            handler.data_received(head[at : at + 1])
            if handler._head is None:
                break
        assert handler.exception() is None, head
    loop.close()


def test_a_head_that_comes_byte_by_byte_is_bounded_by_the_time_limit(tmp_path, web):
    slow = raw(TYPE, LENGTH)
    slow.pause_s, slow.pieces = 0.2, len(slow.raw)
    web.answers["/x"] = slow
    began = time.monotonic()
    assert one(tmp_path, web.url("/x"), timeout_s=0.7).status == "timeout"
    assert time.monotonic() - began < 2


def test_a_body_declared_as_br_that_is_no_image_names_the_encoding(tmp_path, web):
    web.answers["/x"] = raw(TYPE, b"Content-Encoding: br", body=b"\x1b\x00\x10")
    found = one(tmp_path, web.url("/x"))
    assert (found.status, found.error) == ("broken_encoding", "Content-Encoding br")


def test_an_image_of_a_type_that_is_not_wanted_is_refused(tmp_path, web):
    web.answers["/x"] = raw(b"Content-Type: image/png", LENGTH)
    found = one(tmp_path, web.url("/x"), content_types=("image/jpeg",))
    assert (found.status, found.error) == ("wrong_content_type", "Content-Type image/png")


@pytest.mark.parametrize(
    "broken",
    [
        Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        Answer(raw=b"HTTP/1.1 200 O"),
        Answer(b"x" * 9, pause_s=0.2, pieces=9),
    ],
)
def test_a_host_that_answers_anything_is_not_given_up(tmp_path, web, broken):
    web.answers["/x"] = broken
    urls = [web.url("/x")] * 5 + [web.url("/ok.jpg")]
    statuses, _ = fetched(tmp_path, urls, concurrency=1, max_host_failures=3, timeout_s=0.5)
    assert {s.status for s in statuses[:5]} <= {"connection_failure", "timeout"}
    assert statuses[5].status == "success"
    assert [s.attempts for s in statuses] == [1] * 6


def test_a_host_that_redirects_to_a_dead_one_is_not_given_up(tmp_path, web):
    web.answers["/x"] = Answer(b"", 302, {"Location": "http://127.0.0.1:1/x"})
    statuses, _ = fetched(tmp_path, [web.url("/x")] * 8 + [web.url("/ok.jpg")], concurrency=1, max_host_failures=3)
    assert [s.status for s in statuses] == ["connection_failure"] * 8 + ["success"]
    assert [s.attempts for s in statuses] == [1] * 9


def test_connections_are_kept_after_plain_answers(tmp_path, web):
    web.answers["/x"] = Answer(IMAGE, headers={"Content-Type": "image/jpeg", "Set-Cookie": "a=" + "b" * 9000})
    fetched(tmp_path, [web.url("/x"), web.url("/ok.jpg")] * 5, concurrency=1)
    assert len(web.ports) == 1
