"""HTTP answers for `read_laion`: what any client reads must be kept, what never answers must cost nothing else."""

import gzip
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz import web
from fuzz.cases import CAPTION, jpeg_of, mutated, some, write_manifest
from fuzz.child import HOSTS
from fuzz.tables import SOURCE
from fuzz.web import answer, image_answer

REDIRECTS = (
    "file:///etc/passwd", "http://10.0.0.1/x.jpg", "http://169.254.169.254/latest", "http://127.0.0.3:{port}/0.jpg",
    "http://[::1]:{port}/0.jpg", "ftp://127.0.0.1/", "//127.0.0.3:{port}/x", "http://localhost:{port}/0.jpg",
    "http://0.0.0.0:{port}/0.jpg", "", "http://[", "data:,x", "http://127.0.0.2:1/x", "gopher://127.0.0.1:{port}/",
    "/loop", "/\xe9", "\0", "?" * 9000,
)  # fmt: skip
GOOD_HEADERS = (
    ("X-Long: " + "y" * 9_000,), tuple(f"X-{n}: y" for n in range(150)), ("X Odd: y",), ("Content-Encoding: utf-8",),
    ("Content-Encoding: identity",), ("Content-Encoding: none",), ("X-Latin: caf\xe9",),
    ("Set-Cookie: a=b; Path=/; Expires=never",) * 20, ("Content-Type: image/jpeg; charset=\xfc",),
    ("Connection: close, keep-alive",), ("X-Empty:",), ("Date: yesterday",), ("Server: \x7f",), ("Last-Modified: 0",),
    ("ETag: W/",), ('Alt-Svc: h3=":443"',), ("Link: <x>; rel",),
    ("Content-Range: bytes 0-1/2",), ("Content-Disposition: attachment; filename=../../x",),
)  # fmt: skip
"""Additional lines that urllib and browsers pass over."""


def good(rng, number, port):
    return image_answer(jpeg_of(number))


def good_headers(rng, number, port):
    return image_answer(jpeg_of(number), *rng.choice(GOOD_HEADERS))


def length_twice(rng, number, port):
    body = jpeg_of(number)
    return image_answer(body, f"Content-Length: {len(body)}")


def good_chunks(rng, number, port):
    body, size = jpeg_of(number), rng.choice((1, 100, 1000))
    chunks = [
        b"%x%s\r\n%s\r\n" % (len(body[i : i + size]), rng.choice((b"", b";a=b")), body[i : i + size])
        for i in range(0, len(body), size)
    ]
    return answer(head("Transfer-Encoding: chunked"), b"".join(chunks) + b"0\r\n\r\n")


def good_gzip(rng, number, port):
    name, body = rng.choice(
        (
            ("gzip", gzip.compress(jpeg_of(number))),
            ("deflate", zlib.compress(jpeg_of(number))),
            ("x-gzip", gzip.compress(jpeg_of(number))),
        )
    )
    return answer(head(f"Content-Encoding: {name}", f"Content-Length: {len(body)}") + body)


def until_closed(rng, number, port):
    return answer(head(version=rng.choice(("1.0", "1.1"))) + jpeg_of(number), end="close")


def good_redirect(rng, number, port):
    target = f"/{number}.direct"
    location = rng.choice(
        (target, f"http://127.0.0.1:{port}{target}", f"//127.0.0.1:{port}{target}", f"{target}#x", f"x/../{target[1:]}")
    )
    return image_answer(
        b"", f"Location: {location}", status=rng.choice(("301 Moved", "302 Found", "303 See Other", "307 x", "308 x"))
    )


GOOD = (
    good,
    good,
    good_headers,
    good_headers,
    good_headers,
    length_twice,
    good_chunks,
    good_gzip,
    until_closed,
    good_redirect,
)


def head(*lines, version="1.1", status="200 OK"):
    return "\r\n".join([f"HTTP/{version} {status}", "Content-Type: image/jpeg", *lines]).encode("latin-1") + b"\r\n\r\n"


def odd_redirect(rng, number, port):
    return image_answer(
        b"",
        f"Location: {rng.choice(REDIRECTS).format(port=port)}",
        status=rng.choice(("301 x", "302 x", "300 x", "304 x", "399 x")),
    )


def odd_status(rng, number, port):
    line = rng.choice(
        (
            "200",
            "200 ",
            "099 x",
            "204 No Content",
            "206 x",
            "404 x",
            "429 x",
            "500 x",
            "503 x",
            "999 x",
            "2000 x",
            "-1 x",
            "abc",
        )
    )
    return image_answer(
        jpeg_of(number), rng.choice(("X: y", "Retry-After: 999999", "Retry-After: x", "Retry-After: -1")), status=line
    )


def odd_length(rng, number, port):
    length = rng.choice((0, 1, 10**6, -1, "x", "1, 2", 2**63, "0x10", "", "+5", 10**30))
    return answer(head(f"Content-Length: {length}") + jpeg_of(number), end="close")


def odd_chunks(rng, number, port):
    sizes = (b"ffffffffffffffffff", b"-1", b"x", b"", b"7fffffff", b" 10", b"10;" + b"x" * 70_000)
    return answer(head("Transfer-Encoding: chunked") + rng.choice(sizes) + b"\r\n" + jpeg_of(number), end="close")


def odd_encoding(rng, number, port):
    name = rng.choice(("gzip", "deflate", "br", "zstd", "gzip, gzip", "x", "compress", ""))
    body = rng.choice((jpeg_of(number), gzip.compress(jpeg_of(number))[:-9], b""))
    return answer(head(f"Content-Encoding: {name}", f"Content-Length: {len(body)}") + body)


def bomb(rng, number, port):
    body = gzip.compress(bytes(rng.choice((10, 200)) * 10**6), 6)
    if rng.random() < 0.3:
        body = gzip.compress(body, 9)
    return answer(head("Content-Encoding: gzip", f"Content-Length: {len(body)}") + body)


def endless(rng, number, port):
    lines = b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000
    return rng.choice((
        answer(head(), bytes(1_000_000), times=40, end="close"), answer(*lines, times=100, end="close"),
        answer(lines[0] + b"X: ", bytes(100_000), times=40, end="close"),
        answer(b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000, times=40, end="close"),
    ))  # fmt: skip


def other_type(rng, number, port):
    kind = rng.choice(
        (
            "text/html",
            "application/pdf",
            "image/svg+xml",
            "",
            "image",
            "IMAGE/JPEG",
            "x" * 9000,
            "application/octet-stream",
        )
    )
    return answer(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 6\r\n\r\n<html>".encode())


def damaged(rng, number, port):
    return answer(mutated(rng, image_answer(jpeg_of(number))["pieces"][0])[0], end="close")


ANSWERED = (odd_redirect, odd_redirect, odd_status, odd_length, odd_chunks, odd_encoding, other_type)


def silent(rng, number, port):
    return answer(rng.choice((b"", b"", b"HTTP/1.1", rng.randbytes(40))), end=rng.choice(("close", "reset")))


def slow(rng, number, port):
    return answer(head(), b"x", times=40, pause_s=0.2, end="close")


SILENT = (silent, silent, silent, damaged)


def make(rng, folder, case):
    """Up to 40 URLs. Those that never answer are on the second host, so that the first stays in use."""
    case.port = web.free_port(rng)
    write_manifest(folder, SOURCE.format(rows_per_shard=1000) + "\nspeed.max_host_failures = 4")
    answers, urls = {"/loop": image_answer(b"", "Location: /loop", status="302 x")}, []
    odd, size = some(rng, ANSWERED, 4), rng.randint(3, 38)
    rare = {rng.randrange(size): rng.choice((bomb, endless, slow))} if rng.random() < 0.1 else {}
    for number in range(size):
        dice = rng.random()
        makes = rare.get(number) or rng.choice(GOOD if dice < 0.5 else odd if dice < 0.85 else SILENT)
        host = HOSTS[makes in (*SILENT, slow, endless)]
        urls.append(f"http://{host}:{case.port}/{number}.jpg")
        answers |= {f"/{number}.jpg": makes(rng, number, case.port), f"/{number}.direct": image_answer(jpeg_of(number))}
        case.what.append(f"{number}: {makes.__name__}")
        (case.kept if makes in GOOD else case.accounted).append(f"{number:09d}")
    web.save(answers, folder)
    case.num_rows = len(urls)
    pq.write_table(
        pa.table({"URL": urls, "TEXT": [f"{CAPTION} {n}" for n in range(len(urls))]}), folder / "in/table.parquet"
    )
