"""Parquet tables of URLs for `read_laion`: odd types and values, small files that grow when read, damaged bytes."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz import web
from fuzz.cases import CAPTION, jpeg_of, mutated, write_manifest

SOURCE = """use = "read_laion"
rows_per_shard = {rows_per_shard}
allowed_hosts = ["127.0.0.1", "127.0.0.2"]
speed.attempts = 2
speed.backoff_s = 0.01
speed.timeout_s = 3"""
ODD_URLS = (
    "", "x", "http://", "http://[", "http://[::1", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://10.0.0.1/x.jpg",
    "//127.0.0.1/x", "http://169.254.169.254/latest", "http://127.0.0.3:{port}/0.jpg", "http://127.0.0.1:99999/x",
    "http://127.0.0.1:-1/x", "data:image/png;base64,x", "http://user:pass@127.0.0.1:{port}/0.jpg",
    "http://127.1:{port}/0.jpg", "http://0:{port}/0.jpg", "http://2130706433:{port}/0.jpg", "http://0x7f.1:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/0.jpg", "http://[::1]:{port}/0.jpg", "http://\0/",
    "http://127.0.0.1:{port}/\r\nX: y", "javascript:alert(1)", "http://127.0.0.1:{port}/" + "x" * 70_000,
)  # fmt: skip


class Rows:
    """Columns of the table, and which rows must end as outputs."""

    def __init__(self, rng, port):
        self.rng, self.port = rng, port
        self.size = rng.randint(1, 12)
        self.columns = {
            "URL": pa.array([f"http://127.0.0.1:{port}/{n}.jpg" for n in range(self.size)]),
            "TEXT": pa.array([f"{CAPTION} {n}" for n in range(self.size)]),
            "similarity": pa.array([0.3] * self.size, pa.float32()),
        }
        self.healthy = set(range(self.size))
        self.may_refuse = False
        self.writing = {}


def odd_urls(rows):
    urls = rows.columns["URL"].to_pylist()
    for number in rows.rng.sample(range(rows.size), rows.rng.randint(min(1, rows.size), rows.size)):
        urls[number] = rows.rng.choice((*ODD_URLS, "")).format(port=rows.port) or None
        rows.healthy.discard(number)
    rows.columns["URL"] = pa.array(urls, pa.string())


def odd_types(rows):
    """The columns themselves in another type, with the same text."""
    name = rows.rng.choice(("URL", "TEXT"))
    plain = rows.columns[name]
    if plain.type != pa.string():
        return
    made = rows.rng.choice(
        (plain.dictionary_encode, lambda: plain.cast(pa.large_string()), lambda: plain.cast(pa.string_view()))
    )
    rows.columns[name] = made()


def wrong_types(rows):
    name, size = rows.rng.choice(("URL", "TEXT")), rows.size
    rows.columns[name] = rows.rng.choice((
        rows.columns[name].cast(pa.binary()), pa.array(range(size)), pa.array([["x"]] * size),
        pa.array([{"a": 1}] * size), pa.nulls(size), pa.array([b"\xff"] * size, pa.binary()).view(pa.string()),
        pa.array([True] * size), pa.nulls(size, pa.string()),
    ))  # fmt: skip
    rows.healthy.clear()
    rows.may_refuse = True


def extra_column(rows):
    size = rows.size
    name = rows.rng.choice(("similarity", "NSFW", "exif", "WIDTH", "", "caption", "url", "status", "key"))
    rows.columns[name] = rows.rng.choice((
        pa.array([2**50] * size, pa.timestamp("s")), pa.array([-(2**63)] * size, pa.timestamp("ns")),
        pa.array([2**31 - 1] * size, pa.date32()), pa.array([2**62] * size, pa.date64()),
        pa.array([2**62] * size, pa.duration("ms")),
        pa.array([2**62] * size, pa.timestamp("us", tz="Asia/Kathmandu")),
        pa.array([2**50] * size, pa.timestamp("s", tz="+99:00")), pa.array([2**62] * size, pa.time64("us")),
        pa.array([float("nan")] * size), pa.array([b"\xff\xfe"] * size, pa.binary()).view(pa.string()),
        pa.array([[1, None]] * size), pa.array([{"a": {"b": [float("inf")]}}] * size),
        pa.array([[("k", 1), ("k", 2)]] * size, pa.map_(pa.string(), pa.int8())),
        pa.array(["x"] * size).dictionary_encode(), pa.nulls(size), pa.array([10**30] * size, pa.decimal128(38, 2)),
        pa.array([b"x" * 8] * size, pa.binary(8)), pa.array([2**64 - 1] * size, pa.uint64()),
        pa.array([[b"\xff"] for _ in range(size)]), pa.array([[2**50]] * size, pa.list_(pa.timestamp("s"))),
        pa.array([1e-8] * size, pa.float16()),
    ))  # fmt: skip
    return f"{name!r} {rows.columns[name].type}"


def deep_column(rows):
    value, kind = "x", pa.string()
    depth = rows.rng.choice((3, 30, 90))
    rows.may_refuse |= depth > 3
    for _ in range(depth):
        value, kind = ([value], pa.list_(kind)) if rows.rng.random() < 0.5 else ({"a": value}, pa.struct([("a", kind)]))
    rows.columns["deep"] = pa.array([value] * rows.size, kind)


def growing_column(rows):
    """One long value in every row: kilobytes on disk, too much memory where a file is read whole."""
    count, length = rows.rng.choice(((200, 1_000_000), (400, 4_000_000), (1000, 100_000), (100, 30_000_000)))
    value = b"x" * length
    kind = rows.rng.choice((pa.string(), pa.binary()))
    padding = pa.nulls(count - rows.size, pa.string())
    rows.columns = {name: pa.concat_arrays([rows.columns[name], padding]) for name in ("URL", "TEXT")}
    name = rows.rng.choice(("bulk", "bulk", "TEXT"))
    if name == "TEXT":
        rows.healthy.clear()
        kind = pa.string()
    words = pa.array([value.decode() if kind == pa.string() else value], kind)
    rows.columns[name] = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), words)
    rows.size, rows.writing = count, {"compression": "zstd", "dictionary_pagesize_limit": 1 << 30}
    rows.may_refuse = True
    return f"{name} {count} x {length}"


def layout(rows):
    choices = {
        "row_group_size": (1, 3, 1000), "compression": ("none", "snappy", "zstd", "gzip", "brotli", "lz4"),
        "use_dictionary": (True, False), "data_page_version": ("1.0", "2.0"), "version": ("1.0", "2.6"),
    }  # fmt: skip
    rows.writing |= {name: rows.rng.choice(values) for name, values in choices.items()}


def no_rows(rows):
    rows.columns = {name: column.slice(0, 0) for name, column in rows.columns.items()}
    rows.size, rows.may_refuse = 0, True
    rows.healthy.clear()


def other_names(rows):
    rows.columns = {
        rows.rng.choice((name, name, name.lower(), f"{name} ", "")): column for name, column in rows.columns.items()
    }
    rows.may_refuse = True
    rows.healthy.clear()
    if "URL" not in rows.columns:
        rows.size = 0


OPERATIONS = (odd_urls, odd_types, wrong_types, extra_column, deep_column, layout, growing_column, no_rows, other_names)
WEIGHTS = (3, 1, 1, 4, 1, 1, 0.5, 0.5, 1)
"""In this order where there are several: later ones leave columns that the earlier could not change."""


def written(rows):
    """The Parquet file. A column that cannot be written is left out."""
    while True:
        out = io.BytesIO()
        try:
            pq.write_table(pa.table(rows.columns), out, **rows.writing)
            return out.getvalue()
        except pa.ArrowException:
            rows.writing.pop("version", None)
            rows.columns.popitem()


def make(rng, folder, case):
    """One table or two: the damaged one with a healthy one or alone."""
    case.port = web.free_port(rng)
    web.save({f"/{n}.jpg": web.image_answer(jpeg_of(n)) for n in range(16)}, folder)
    rows = Rows(rng, case.port)
    chosen = rng.choices(OPERATIONS, WEIGHTS, k=rng.choice((0, 1, 1, 1, 2, 2, 3)))
    chosen = [growing_column] if growing_column in chosen else chosen
    write_manifest(folder, SOURCE.format(rows_per_shard=1000 if growing_column in chosen else 4))
    for operation in sorted(chosen, key=OPERATIONS.index):
        described = operation(rows)
        case.what.append(f"{operation.__name__}{f' {described}' if described else ''}")
    raw, is_whole = written(rows), rng.random() < 0.7
    if not is_whole:
        raw, described, _ = mutated(rng, raw)
        case.what.append(f"damaged: {described}")
    (folder / "in/table.parquet").write_bytes(raw)
    case.may_refuse = rows.may_refuse or not is_whole
    if is_whole:
        case.num_rows = rows.size or None
        case.kept = [f"{n:09d}" for n in sorted(rows.healthy)]
        case.accounted = [f"{n:09d}" for n in range(rows.size)]
