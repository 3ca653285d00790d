"""The downloader against a web on 127.0.0.1: every end of a URL, number and rate of requests."""

import gzip
import io
import itertools
import socket
import struct
import threading
import time
import zlib

import pytest
from _inputs import encoded, jpeg, make_image
from _laion import fetched
from _web import Answer, Web
from PIL import Image

IMAGE = jpeg(1)
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture
def web():
    served = Web({"/ok.jpg": Answer(IMAGE)})
    yield served
    served.close()


def one(tmp_path, url, **options):
    (status,), _ = fetched(tmp_path, [url], **options)
    return status


def test_an_image_is_kept_as_it_came_with_all_that_is_known_of_it(tmp_path, web):
    (status,), images = fetched(tmp_path, [web.url("/ok.jpg")])
    assert images == {"000000000": IMAGE}
    assert (status.status, status.error, status.http_status, status.attempts) == ("success", "", 200, 1)
    assert (status.bytes, status.suffix, status.final_url) == (len(IMAGE), "jpg", None)
    assert (status.width, status.height, status.original_width, status.original_height) == (96, 80, 96, 80)
    assert 0 < status.seconds < 5


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (204, "empty_image"), (304, "http_error"), (400, "http_error"), (401, "http_error"), (403, "http_error"),
        (404, "http_error"), (408, "server_busy"), (410, "http_error"), (425, "server_busy"), (429, "server_busy"),
        (451, "http_error"), (500, "server_busy"), (503, "server_busy"), (599, "server_busy"),
    ],
)  # fmt: skip
def test_http_statuses_that_are_no_image(tmp_path, web, status, reason):
    web.answers["/x"] = Answer(b"", status)
    found = one(tmp_path, web.url("/x"))
    assert (found.status, found.http_status) == (reason, status)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b""), "empty_image"),
        (Answer(b"<html>gone</html>", headers={"Content-Type": "text/html; charset=utf-8"}), "wrong_content_type"),
        (Answer(b"<html>gone</html>"), "not_an_image"),
        (
            Answer(b"<svg xmlns='http://www.w3.org/2000/svg'/>", headers={"Content-Type": "image/svg+xml"}),
            "not_an_image",
        ),
        (Answer(IMAGE[:2]), "not_an_image"),
        (Answer(IMAGE, headers={}), "success"),
        (Answer(IMAGE, headers={"Content-Type": "application/octet-stream"}), "success"),
        (Answer(IMAGE, has_length=False), "success"),
        (Answer(b"", has_length=False), "empty_image"),
        (Answer(encoded(make_image(1), "PNG")), "success"),
        (Answer(IMAGE, headers=JPEG | {"X-Robots-Tag": "noai"}), "opted_out"),
        (Answer(IMAGE, headers=JPEG | {"X-Robots-Tag": ["index", "editloom: noimageai"]}), "opted_out"),
        (Answer(IMAGE, headers=JPEG | {"X-Robots-Tag": "otherbot: noai"}), "success"),
        (Answer(IMAGE, headers=JPEG | {"X-Robots-Tag": "nofollow"}), "success"),
        (Answer(raw=b""), "connection_failure"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"), "connection_failure"),
        (Answer(raw=b"SSH-2.0-OpenSSH_9.6\r\n"), "connection_failure"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"), "empty_image"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000 + b"\r\n\r\n"), "connection_failure"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), "empty_image"),
        (
            Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Type: \xff\xfe\r\nContent-Length: 3\r\n\r\nabc"),
            "wrong_content_type",
        ),
        (Answer(raw=b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe://\r\nContent-Length: 0\r\n\r\n"), "http_error"),
    ],
)
def test_answers_of_every_kind_have_their_status(tmp_path, web, answer, reason):
    web.answers["/x"] = answer
    assert one(tmp_path, web.url("/x")).status == reason


def test_an_opt_out_ends_the_request_before_the_image_is_read(tmp_path, web):
    web.answers["/x"] = Answer(IMAGE, headers=JPEG | {"X-Robots-Tag": "noindex"})
    assert one(tmp_path, web.url("/x")).error == "X-Robots-Tag: noindex"
    assert one(tmp_path, web.url("/x"), respect_opt_out=False).status == "success"
    assert one(tmp_path, web.url("/x"), opt_out_directives=("noai",)).status == "success"


def test_only_content_types_of_the_settings_are_read(tmp_path, web):
    web.answers["/x"] = Answer(b"no image", headers={"Content-Type": "Text/Plain"})
    assert one(tmp_path, web.url("/x")).error == "Content-Type text/plain"
    assert one(tmp_path, web.url("/x"), content_types=("text/plain",)).status == "not_an_image"


def test_nothing_listening_is_a_connection_failure(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    assert one(tmp_path, url).status == "connection_failure"


def test_a_reset_connection_is_a_connection_failure(tmp_path):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(10)

        def reset():
            for _ in range(2):  # a connection that breaks is made once more, at once
                client, _ = listening.accept()
                client.recv(1000)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()

        thread = threading.Thread(target=reset)
        thread.start()
        found = one(tmp_path, f"http://127.0.0.1:{listening.getsockname()[1]}/x", attempts=1)
        thread.join()
    assert found.status == "connection_failure"


def test_plain_http_behind_https_is_a_connection_failure(tmp_path, web):
    found = one(tmp_path, web.url("/ok.jpg").replace("http:", "https:"))
    assert found.status == "connection_failure"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(IMAGE, pause_s=3),
        Answer(IMAGE, pause_s=0.2, pieces=40),
        Answer(IMAGE, pause_s=0.2, pieces=40, has_length=False),
    ],
    ids=["silence", "slow loris", "slow loris without length"],
)
def test_a_server_that_takes_too_long_is_given_up(tmp_path, web, answer):
    web.answers["/x"] = answer
    began = time.monotonic()
    found = one(tmp_path, web.url("/x"), timeout_s=0.5)
    assert (found.status, found.error) == ("timeout", "not done after 0.5 s")
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(tmp_path, web, status):
    web.answers["/a"] = Answer(b"moved", status, {"Location": "sub/b"})
    web.answers["/sub/b"] = Answer(b"", status, {"Location": web.url("/ok.jpg#part")})
    found = one(tmp_path, web.url("/a"))
    assert (found.status, found.final_url) == ("success", web.url("/ok.jpg"))


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/a", "too_many_redirects"),
        ("http://10.0.0.1/x.jpg", "forbidden_address"),
        ("http://127.0.0.2/x.jpg", "forbidden_address"),
        ("http://[::1]/x.jpg", "forbidden_address"),
        ("http://0x7f.1/x.jpg", "forbidden_address"),
        ("//169.254.169.254/latest/meta-data/", "forbidden_address"),
        ("file:///etc/passwd", "forbidden_scheme"),
        ("ftp://127.0.0.1/x", "forbidden_scheme"),
        ("data:image/png;base64,AAAA", "forbidden_scheme"),
        ("http://", "too_many_redirects"),
        ("http://[/", "not_an_url"),
        ("", "too_many_redirects"),
    ],
)
def test_redirects_lead_only_where_an_url_may(tmp_path, web, location, reason):
    web.answers["/a"] = Answer(b"", 302, {"Location": location})
    found = one(tmp_path, web.url("/a"))
    assert found.status == reason
    assert web.asked == {"/a": 1}


def test_a_redirect_without_a_place_is_an_error(tmp_path, web):
    web.answers["/a"] = Answer(b"", 302, {})
    assert one(tmp_path, web.url("/a")).status == "http_error"


def test_redirects_are_bounded(tmp_path, web):
    web.answers |= {f"/{n}": Answer(b"", 302, {"Location": f"/{n + 1}"}) for n in range(20)}
    found = one(tmp_path, web.url("/0"), max_redirects=3)
    assert (found.status, found.error, sum(web.asked.values())) == ("too_many_redirects", "more than 3", 4)


def test_credentials_are_neither_sent_nor_kept_when_a_redirect_has_them(tmp_path, web):
    location = web.url("/ok.jpg").replace("http://", "http://user:secret@")
    web.answers["/a"] = Answer(b"", 302, {"Location": location})
    found = one(tmp_path, web.url("/a").replace("http://", "http://user:secret@"))
    assert (found.status, found.final_url) == ("success", web.url("/ok.jpg"))
    assert all("Authorization" not in seen for seen in web.headers_seen)


def test_requests_say_who_asks_and_carry_no_cookies(tmp_path, web):
    web.answers["/x"] = Answer(IMAGE, headers=JPEG | {"Set-Cookie": "a=b"})
    fetched(tmp_path, [web.url("/x")] * 3, user_agent="tests/1.0", concurrency=1)
    assert {seen["User-Agent"] for seen in web.headers_seen} == {"tests/1.0"}
    assert {seen["Accept-Encoding"] for seen in web.headers_seen} == {"identity"}
    assert all("Cookie" not in seen for seen in web.headers_seen)


def zeros(size):
    """`size` zeros as gzip sends them: a thousandth of that."""
    return gzip.compress(bytes(size))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(bytes(20_001)), "too_large"),
        (Answer(bytes(20_001), has_length=False), "too_large"),
        (Answer(zeros(50_000_000)[:19_000], headers=JPEG | {"Content-Encoding": "gzip"}), "too_large"),
        (Answer(zeros(19_000), headers=JPEG | {"Content-Encoding": "gzip"}), "not_an_image"),
        (Answer(gzip.compress(IMAGE), headers=JPEG | {"Content-Encoding": "gzip"}), "success"),
        (Answer(gzip.compress(IMAGE), headers=JPEG | {"Content-Encoding": "x-gzip"}, has_length=False), "success"),
        (Answer(zlib.compress(IMAGE), headers=JPEG | {"Content-Encoding": "deflate"}), "success"),
        (Answer(gzip.compress(IMAGE)[:-20], headers=JPEG | {"Content-Encoding": "gzip"}), "broken_encoding"),
        (Answer(IMAGE, headers=JPEG | {"Content-Encoding": "gzip"}), "success"),
        (Answer(IMAGE, headers=JPEG | {"Content-Encoding": "br"}), "success"),
        (Answer(IMAGE, headers=JPEG | {"Content-Encoding": "identity"}), "success"),
    ],
)
def test_bodies_are_bounded_as_sent_and_as_unpacked(tmp_path, web, answer, reason):
    web.answers["/x"] = answer
    assert one(tmp_path, web.url("/x"), max_image_bytes=20_000).status == reason


def test_an_endless_body_is_read_no_further_than_the_bound(tmp_path, web):
    web.answers["/x"] = Answer(bytes(200_000_000), has_length=False, pieces=200)
    began = time.monotonic()
    assert one(tmp_path, web.url("/x"), max_image_bytes=3_000_000).status == "too_large"
    assert time.monotonic() - began < 3


def test_large_bodies_wait_for_each_other_and_all_arrive(tmp_path, web):
    noise = encoded(Image.effect_noise((1800, 1800), 80), "PNG")
    assert len(noise) > 2 << 20
    web.answers["/big"] = Answer(noise, headers={"Content-Type": "image/png"})
    web.answers["/long"] = Answer(noise, headers={"Content-Type": "image/png"}, has_length=False)
    statuses, _ = fetched(tmp_path, [web.url("/big"), web.url("/long")] * 10, timeout_s=20)
    assert {s.status for s in statuses} == {"success"}


def test_pixel_bombs_are_refused_by_their_header(tmp_path, web):
    web.answers["/x"] = Answer(encoded(Image.new("1", (3000, 3000)), "PNG"))
    assert one(tmp_path, web.url("/x"), max_pixels=1_000_000).status == "pixel_bomb"
    assert one(tmp_path, web.url("/x"), max_pixels=9_000_000).status == "success"


def test_a_name_is_connected_to_at_the_address_that_was_checked(tmp_path, web):
    asked = []

    def lookup(host, port, family):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    url = web.url("/ok.jpg", "rebinding.example")
    assert one(tmp_path, url, lookup=lookup, allowed_hosts=()).status == "forbidden_address"
    assert (asked, web.asked) == (["rebinding.example"], {})
    assert one(tmp_path, url, lookup=lookup, allowed_hosts=("rebinding.example",)).status == "success"
    assert len(asked) == 2


def test_a_name_that_turns_private_is_refused_at_the_second_attempt(tmp_path, web):
    answers = iter([socket.gaierror(socket.EAI_AGAIN, "later"), "127.0.0.1"])

    def lookup(host, port, family):
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port))]

    found = one(tmp_path, web.url("/ok.jpg", "rebinding.example"), lookup=lookup, attempts=3, allowed_hosts=())
    assert (found.status, found.attempts, web.asked) == ("forbidden_address", 2, {})


def test_failures_that_may_pass_are_tried_again(tmp_path, web):
    web.answers["/x"] = [Answer(b"", 503), Answer(IMAGE, pause_s=1), Answer(IMAGE)]
    found = one(tmp_path, web.url("/x"), attempts=3, timeout_s=0.4)
    assert (found.status, found.attempts, found.error) == ("success", 3, "")


def test_attempts_are_bounded_and_waits_double(tmp_path, web):
    web.answers["/x"] = Answer(b"", 500)
    found = one(tmp_path, web.url("/x"), attempts=4, backoff_s=0.1)
    times = web.times["/x"]
    waits = [b - a for a, b in itertools.pairwise(times)]
    assert (found.status, found.attempts, len(times)) == ("server_busy", 4, 4)
    for number, wait in enumerate(waits):
        assert 0.05 * 2**number <= wait <= 0.15 * 2**number + 0.3


def test_failures_that_stay_are_tried_once(tmp_path, web):
    web.answers["/page"] = Answer(b"<html>")
    fetched(tmp_path, [web.url("/gone"), web.url("/page")], attempts=5)
    assert web.asked == {"/gone": 1, "/page": 1}


def test_retry_after_is_waited_for(tmp_path, web):
    web.answers["/x"] = [Answer(b"", 429, {"Retry-After": "1"}), Answer(IMAGE)]
    assert one(tmp_path, web.url("/x"), attempts=2).status == "success"
    first, second = web.times["/x"]
    assert 1 <= second - first < 2


def test_a_server_that_asks_for_a_long_pause_is_not_retried(tmp_path, web):
    web.answers["/x"] = Answer(b"", 503, {"Retry-After": "3600"})
    found = one(tmp_path, web.url("/x"), attempts=5)
    assert (found.status, web.asked["/x"]) == ("server_busy", 1)


def test_a_host_is_asked_for_so_many_images_at_once_and_no_more(tmp_path, web):
    web.answers |= {f"/{n}": Answer(IMAGE, pause_s=0.05) for n in range(24)}
    fetched(tmp_path, [web.url(f"/{n}") for n in range(24)], concurrency_per_host=4, concurrency=24)
    assert web.most_at_once == 4


def test_a_worker_asks_for_so_many_images_at_once_and_no_more(tmp_path, web):
    web.answers |= {f"/{n}": Answer(IMAGE, pause_s=0.05) for n in range(24)}
    urls = [web.url(f"/{n}", f"127.0.0.{1 + n % 8}") for n in range(24)]
    statuses, _ = fetched(tmp_path, urls, concurrency=3)
    assert web.most_at_once <= 3
    assert {s.status for s in statuses} == {"success", "forbidden_address"}


def test_a_host_that_is_down_is_given_up_and_no_other(tmp_path, web):
    with socket.socket() as free:
        free.bind(("127.0.0.3", 0))
        dead = f"http://127.0.0.3:{free.getsockname()[1]}/"
    urls = [f"{dead}{n}" for n in range(30)] + [web.url("/ok.jpg")] * 5
    statuses, _ = fetched(
        tmp_path, urls, allowed_hosts=("127.0.0.0/8",), concurrency=1, max_host_failures=4, attempts=2
    )
    assert [s.status for s in statuses] == ["connection_failure"] * 30 + ["success"] * 5
    assert sum(s.attempts for s in statuses[:30]) == 4
    assert statuses[29].error == "host given up after 4 failures in a row"


def test_an_answer_makes_up_for_the_failures_before(tmp_path, web):
    web.answers |= {f"/{n}": Answer(raw=b"") for n in range(40)}
    urls = [web.url("/ok.jpg" if n % 3 == 0 else f"/{n}") for n in range(30)]
    statuses, _ = fetched(tmp_path, urls, max_host_failures=4, concurrency=1)
    assert all(s.attempts == 1 for s in statuses)


def test_connections_are_kept_for_the_next_image(tmp_path, web):
    ports = set()
    real = web.get_request

    def get_request():
        made = real()
        ports.add(made[1])
        return made

    web.get_request = get_request
    web.answers["/gone"] = Answer(b"<html>not here</html>", 404)
    fetched(tmp_path, [web.url("/ok.jpg"), web.url("/gone")] * 10, concurrency=1)
    assert len(ports) == 1


def test_nothing_to_ask_for_takes_no_time(tmp_path):
    fetched(tmp_path, [])
    assert one(tmp_path, "nonsense").status == "not_an_url"


def test_an_image_with_an_unusual_name_arrives(tmp_path, web):
    web.answers["/%C3%BC%20b.jpg?q=%C3%A4&r=/"] = Answer(IMAGE)
    assert one(tmp_path, web.url("/ü b.jpg?q=ä&r=%2F")).status == "success"


def test_errors_in_the_table_are_short_and_on_one_line(tmp_path, web):
    web.answers["/x"] = Answer(b"no image", headers={"Content-Type": "text/" + "x" * 5000})
    assert len(one(tmp_path, web.url("/x")).error) == 200


def test_images_are_received_while_others_are_waited_for(tmp_path, web):
    web.answers |= {f"/{n}": Answer(IMAGE, pause_s=0.3) for n in range(16)}
    began = time.monotonic()
    fetched(tmp_path, [web.url(f"/{n}") for n in range(16)])
    assert time.monotonic() - began < 3


def test_a_stored_image_opens(tmp_path, web):
    _, images = fetched(tmp_path, [web.url("/ok.jpg")], stored_side_px=32)
    with Image.open(io.BytesIO(images["000000000"])) as image:
        assert image.size == (38, 32)
