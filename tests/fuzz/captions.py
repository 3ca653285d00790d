"""Folders of images with a captions file: quoting, separators, encodings, columns, paths, damaged bytes."""

import csv
import io
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
from fuzz.cases import CAPTION, jpeg_of, mutated, text_of, write_manifest

NAMES = {"csv": "metadata.csv", "tsv": "captions.tsv", "jsonl": "metadata.jsonl", "json": "metadata.json",
         "parquet": "metadata.parquet"}  # fmt: skip
OUTSIDE = (
    "../secret/photo.jpg", "{root}/secret/photo.jpg", "file://{root}/secret/photo.jpg", "link.jpg",
    "folder/photo.jpg", "..\\secret\\photo.jpg", "./../in/../secret/photo.jpg", "local://{root}/secret/photo.jpg",
)  # fmt: skip
ODD_NAMES = (
    "", ".", "..", "folder", "pipe", "a\0b.jpg", "http://127.0.0.1:9/x.jpg", "memory://x", "s3://bucket/x.jpg",
    "zip://0.jpg::a.zip", "x" * 300, "missing.jpg", "simplecache::http://127.0.0.1:9/x", "-", "~", "*.jpg",
    "000.jpg/", "\udcff.jpg", "data:,x",
)  # fmt: skip


class Table:
    """Rows to be written as a captions file, and what may be promised of them."""

    def __init__(self, rng, root):
        self.rng, self.root = rng, root
        self.rows = [{"file_name": f"{n:03d}.jpg", "text": f"{CAPTION} {n}"} for n in range(rng.randint(3, 9))]
        self.healthy = {row["file_name"] for row in self.rows}
        self.is_plain = True
        """False when the file as a whole is odd, so that it may be refused."""
        self.encoding, self.separator = "utf-8", None
        self.is_raw = False
        """True for a delimited file that is written without quoting, as scripts do."""
        self.written = None
        self.form = rng.choice(tuple(NAMES))

    def victim(self):
        """A row that nothing is promised of any more but that it is accounted for."""
        row = self.rng.choice(self.rows)
        if self.healthy and isinstance(row.get("file_name"), str):  # another name was struck out with its row before
            self.healthy.discard(row["file_name"])
        return row

    def encoded(self):
        if self.written is None:
            self.written = WRITERS[self.form](self)
        return self.written


def write_delimited(table):
    out = io.StringIO(newline="")
    separator = table.separator or ("\t" if table.form == "tsv" else ",")
    columns = list(dict.fromkeys(name for row in table.rows for name in row))
    ending = table.rng.choice(("\n", "\r\n"))
    if table.form == "tsv" or table.is_raw:
        lines = [columns, *([str(row.get(c) or "") for c in columns] for row in table.rows)]
        out.write("".join(separator.join(line).replace("\n", " ").replace("\r", " ") + ending for line in lines))
    else:
        writer = csv.DictWriter(out, columns, delimiter=separator, lineterminator=ending)
        writer.writeheader()
        writer.writerows(table.rows)
    return out.getvalue().encode(table.encoding, "replace")


def write_json_lines(table):
    return "".join(f"{json.dumps(row, ensure_ascii=table.rng.random() < 0.5)}\n" for row in table.rows).encode(
        table.encoding, "replace"
    )


def write_json(table):
    table.is_plain = False
    return json.dumps(table.rows).encode(table.encoding, "replace")


def write_parquet(table):
    columns = list(dict.fromkeys(name for row in table.rows for name in row))
    arrays = {}
    for name in columns:
        values = [row.get(name) for row in table.rows]
        values = [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values]
        try:
            arrays[name] = pa.array(values)
        except (pa.ArrowException, OverflowError):
            arrays[name] = pa.array([None if v is None else str(v) for v in values])
    out = io.BytesIO()
    pq.write_table(pa.table(arrays), out, row_group_size=table.rng.choice((1, 100)))
    return out.getvalue()


WRITERS = {
    "csv": write_delimited,
    "tsv": write_delimited,
    "jsonl": write_json_lines,
    "json": write_json,
    "parquet": write_parquet,
}


def other_encoding(table):
    table.encoding, table.is_plain = table.rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32")), False


def other_separator(table):
    table.separator, table.is_plain = table.rng.choice(";|\t,"), False


def other_columns(table):
    old, new = table.rng.choice((
        ("file_name", "image"), ("file_name", "filepath"), ("file_name", "url"), ("text", "caption"),
        ("text", "TEXT"), ("text", "TEXT "), ("text", "label"), ("file_name", "file_name\0"),
    ))  # fmt: skip
    table.rows = [{(new if name == old else name): value for name, value in row.items()} for row in table.rows]
    table.is_plain = False


def quotes(table):
    table.is_raw = table.rng.random() < 0.7
    table.victim()["text"] = table.rng.choice(
        ('"{}', '{}"', 'a "{}', '"{}"', '""{}', '"{}\n', "{}\n{}", "{}\r\n", 'a 6" {}', "\\{}\\")
    ).replace("{}", CAPTION)


def odd_text(table):
    table.victim()["text"] = table.rng.choice(
        (text_of(table.rng, 200), "cafe\u0301 " + CAPTION, "\ufeff" + CAPTION, "\0" + CAPTION)
    )


def odd_value(table):
    value = table.rng.choice(
        (None, 5, 1e308, True, [CAPTION], [], {"en": CAPTION}, CAPTION.encode(), b"\xff\xfe", 2**63 - 1, float("nan"))
    )
    column = table.rng.choice(("text", "text", "file_name"))
    is_everywhere = table.rng.random() < 0.4 or isinstance(value, bytes)
    for row in list(table.rows) if is_everywhere else [table.victim()]:
        row[column] = value
    if is_everywhere and column == "file_name":
        table.healthy.clear()
    if is_everywhere or table.form == "parquet":
        table.is_plain = False
    if isinstance(value, bytes):
        table.form = "parquet"


def extra_columns(table):
    for row in table.rows:
        row["extra"] = table.rng.choice((None, "x", text_of(table.rng, 9))) if table.form != "parquet" else "x"


def odd_extra(table):
    """A Parquet column of a type that Python can hardly hold."""
    values = table.rng.choice((
        pa.array([2**50] * len(table.rows), pa.timestamp("s")), pa.array([-(2**31)] * len(table.rows), pa.date32()),
        pa.array([2**62] * len(table.rows), pa.duration("s")), bad_utf8(len(table.rows)),
    ))  # fmt: skip
    out = io.BytesIO()
    pq.write_table(pq.read_table(io.BytesIO(write_parquet(table))).append_column("odd", values), out)
    table.form, table.written, table.is_plain = "parquet", out.getvalue(), False


def bad_utf8(count):
    return pa.array([b"\xff\xfe"] * count, pa.binary()).view(pa.string())


def huge_field(table):
    table.victim()["text"] = "x" * table.rng.choice((131_073, 5_000_000))


def odd_path(table):
    name = table.rng.choice(OUTSIDE + ODD_NAMES)
    table.victim()["file_name"] = name.format(root=table.root)


def same_twice(table):
    table.rows.append(dict(table.rng.choice(table.rows)))


def damaged(table):
    table.written, _, _ = mutated(table.rng, table.encoded())
    table.healthy, table.is_plain = None, False


OPERATIONS = (
    other_encoding, other_separator, other_columns, quotes, quotes, odd_text, odd_value, extra_columns, huge_field,
    odd_path, odd_path, same_twice, odd_extra, damaged,
)  # fmt: skip
LAST = (other_columns, odd_extra, damaged)
"""Operations behind which no other can change the rows, in their order."""


def make(rng, folder, case):
    """One folder. Nine in ten captions files are odd."""
    write_manifest(folder, 'use = "read_image_folder"\nrows_per_shard = 4')
    table = Table(rng, str(folder))
    chosen = rng.sample(OPERATIONS, rng.choice((1, 1, 2, 3))) if rng.random() < 0.9 else []
    chosen.sort(key=lambda operation: LAST.index(operation) if operation in LAST else -1)
    for number, row in enumerate(table.rows):
        (folder / "in" / row["file_name"]).write_bytes(jpeg_of(number))
    for operation in chosen:
        if table.written is None or operation is damaged:
            operation(table)
            case.what.append(operation.__name__)
    (folder / "in" / NAMES[table.form]).write_bytes(table.encoded())
    (folder / "in/link.jpg").symlink_to("../secret/photo.jpg")
    (folder / "in/folder").symlink_to("../secret")
    os.mkfifo(folder / "in/pipe")
    case.what.append(f"{NAMES[table.form]}, {table.encoding}")
    case.may_refuse = not table.is_plain or (table.form == "csv" and b'"' in table.encoded())
    case.shards = "in" if table.form != "json" else f"in/{NAMES['json']}"
    if table.healthy is not None:
        case.num_rows = len(table.rows)
        case.kept = sorted(table.healthy) if table.is_plain else []
        case.accounted = [] if table.is_plain else sorted(table.healthy)
