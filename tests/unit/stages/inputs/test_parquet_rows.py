"""Parquet files that are made to take memory: read within the bound, or refused by name."""

import contextlib
import io
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _inputs import jpeg, read_rows

from core.errors import PlanError, ShardFailed
from stages.inputs import parquet_pages
from stages.inputs.arrow_values import MAX_VALUE_BYTES
from stages.inputs.parquet_pages import DATA, DATA_V2, DICTIONARY, PageError, compact_struct, pages_of
from stages.inputs.parquet_rows import TableReader
from stages.read_image_folder import ReadImageFolder

WORKER_BYTES = 1_500_000_000
ROWS = 1000
READ = """
import sys
from pipeline.context import Context
from stages.read_image_folder import ReadImageFolder
rows = 0
try:
    stage = ReadImageFolder()
    read = stage.open(Context(stage_name="test"))
    for shard in stage.list_shards([sys.argv[1]])[:2]:
        rows += sum(table.num_rows for table in read(shard))
except Exception as error:
    print(type(error).__name__, *str(error).split())
else:
    print(rows)
print([int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")][0] * 1024)
"""


def repeated(value, kind=None):
    """A column that says `value` in every row and stores it once."""
    return pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array([value], kind))


def write(path, extra=None, **options):
    named = {"file_name": [f"{n}.jpg" for n in range(ROWS)], "text": [f"caption {n}" for n in range(ROWS)]}
    pq.write_table(pa.table(named | (extra or {})), path, **{"compression": "zstd", **options})
    return path


def many_rows(path):
    rows = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000_000, pa.int8()), ["a"])
    return write_whole(path, {"file_name": rows, "text": rows})


def write_whole(path, columns, **options):
    pq.write_table(pa.table(columns), path, **{"compression": "zstd", **options})
    return path


ONE_PAGE = {"use_dictionary": False, "data_page_size": 2**31 - 1}
BOMBS = {
    "rows of nothing": (many_rows, "it claims 20000000 rows"),
    "a long text shared by all rows": (lambda p: write(p, {"x": repeated("y" * 3_000_000)}), "1000"),
    "a page of half a gigabyte": (
        lambda p: write(p, {"text": pa.array(["z" * 500_000] * ROWS, pa.large_string())}, **ONE_PAGE),
        "column 'text': pages of 476 MiB, more than 128 MiB",
    ),
    "such a page of a column nobody named": (
        lambda p: write(p, {"x": pa.array(["z" * 500_000] * ROWS, pa.large_string())}, **ONE_PAGE), "1000",
    ),
    "a long value of fixed length": (lambda p: write(p, {"x": repeated(b"q" * 900_000, pa.binary(900_000))}), "1000"),
    "a list of all in one row": (
        lambda p: write(p, {"x": pa.array([[1]] * (ROWS - 1) + [[None] * 10_000_000], pa.list_(pa.int8()))}), "1000",
    ),
    "a thousand columns of a long text": (
        lambda p: write(p, {f"x{n}": repeated("y" * 100_000) for n in range(1000)}), "more than 128 MiB",
    ),
    "more columns than any table has": (
        lambda p: write(p, {f"x{n}": pa.nulls(ROWS) for n in range(2500)}), "it has 2502 columns, more than 2000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_stays_within_the_bound_of_a_worker(tmp_path, name):
    make, expected = BOMBS[name]
    path = make(tmp_path / "metadata.parquet")
    assert path.stat().st_size < 1_000_000
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    text, peak = done.stdout.splitlines()
    assert expected in text
    assert int(peak) < WORKER_BYTES / 2  # the other half is the models'


def test_a_page_that_the_footer_does_not_admit_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "metadata.parquet")
    monkeypatch.setattr(parquet_pages, "MAX_PAGES_BYTES", 1000)
    reader = TableReader(str(path))
    with pytest.raises(ShardFailed, match=r"column 'file_name': pages of 0 MiB, more than 0 MiB"):
        list(reader.read(0, 1))


def test_a_footer_too_large_to_be_parsed_is_refused(tmp_path):
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1" + bytes(100) + (2**31).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(PlanError, match="its footer has 2147483648 bytes, more than"):
        ReadImageFolder().list_shards([str(tmp_path)])


@pytest.mark.parametrize(
    "options", [{}, {"data_page_version": "2.0"}, {"use_dictionary": False}, {"compression": "none"}]
)
def test_pages_are_found_as_the_footer_counts_them(tmp_path, options):
    path = write(tmp_path / "t.parquet", data_page_size=1000, **options)
    meta = pq.read_metadata(path)
    with path.open("rb") as handle:
        for number in range(meta.num_columns):
            chunk = meta.row_group(0).column(number)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            pages = list(pages_of(handle, start, start + chunk.total_compressed_size))
            assert sum(p.num_values for p in pages if p.kind in (DATA, DATA_V2)) == chunk.num_values
            assert (pages[0].kind == DICTIONARY) == chunk.has_dictionary_page
            headers = chunk.total_compressed_size - sum(p.stored_bytes for p in pages)
            assert headers + sum(p.unpacked_bytes for p in pages) == chunk.total_uncompressed_size


@pytest.mark.parametrize(
    "data", [b"", b"\x15", b"\x15" + b"\xff" * 20, b"\x1c" * 50, b"\x19\xfc" + b"\xff" * 9, b"\x1d"]
)
def test_garbage_is_no_header(data):
    with pytest.raises((PageError, IndexError)):
        compact_struct(data)
    with pytest.raises(PageError):
        list(pages_of(io.BytesIO(data + b"\0" * 9), 0, len(data) + 9))


def test_damage_anywhere_is_a_refusal_or_rows(tmp_path):
    import random

    whole = write(tmp_path / "t.parquet", data_page_size=1000).read_bytes()
    rng = random.Random(7)
    path = tmp_path / "metadata.parquet"
    for _ in range(80):
        damaged = bytearray(whole)
        for _ in range(rng.choice((1, 3, 30))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(PlanError, ShardFailed):
            read_rows(ReadImageFolder(), path)


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_of_every_encoding_are_read(tmp_path, encoding):
    (tmp_path / "0.jpg").write_bytes(jpeg(0))
    write(tmp_path / "metadata.parquet", use_dictionary=False, column_encoding={"text": encoding})
    rows, _ = read_rows(ReadImageFolder(), tmp_path)
    assert [r["caption"] for r in rows] == [f"caption {n}" for n in range(ROWS)]


def test_columns_of_pixels_are_not_read_into_metadata(tmp_path):
    (tmp_path / "0.jpg").write_bytes(jpeg(0))
    write(
        tmp_path / "metadata.parquet",
        {"pixels": pa.array([n.to_bytes(2) * 20_000 for n in range(ROWS)]), "n": range(ROWS)},
    )
    rows, notes = read_rows(ReadImageFolder(), tmp_path)
    assert notes["column 'pixels' too large for metadata, not read"] == ROWS
    assert json.loads(rows[3]["source_metadata"]) == {"file_name": "3.jpg", "text": "caption 3", "n": 3}


THREADS = """
import os, sys
from pathlib import Path
import numpy, pyarrow.parquet
from pipeline.context import Context
from pipeline.store.tables import open_table
from stages.read_image_folder import ReadImageFolder
folder = Path(sys.argv[1])

def threads():
    names = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
    return sum("jemalloc" not in name for name in names)

before = threads()
stage = ReadImageFolder()
read = stage.open(Context(stage_name="test"))
rows = sum(table.num_rows for shard in stage.list_shards([str(folder)]) for table in read(shard))
with (folder / "metadata.parquet").open("rb") as handle:
    rows += open_table(handle).read(use_threads=False).num_rows
print(rows, threads() - before)
"""


def test_arrow_reads_in_the_calling_thread_only(tmp_path):
    write(tmp_path / "metadata.parquet", row_group_size=100)
    done = subprocess.run([sys.executable, "-c", THREADS, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(2 * ROWS), "0"]  # a thread with a Python file may outlive the interpreter


def test_single_values_that_cannot_be_read_leave_a_note(tmp_path):
    odd = {
        "page": pa.array(["y" * (MAX_VALUE_BYTES + 1)] + ["z"] * (ROWS - 1)),
        "hash": pa.array([b"\xff" * 16] * 3 + [None] * (ROWS - 3)),
        "score": pa.array([float("nan")] * ROWS),
    }
    for n in range(ROWS):
        (tmp_path / f"{n}.jpg").write_bytes(b"x")
    write(tmp_path / "metadata.parquet", odd)
    rows, notes = read_rows(ReadImageFolder(rows_per_shard=100), tmp_path)
    assert [r["reject_reason"] for r in rows] == [None] * ROWS
    assert notes == {
        "values of column 'page' that are no text or too long, left out": 1,
        "values of column 'hash' that are no text or too long, left out": 3,
    }
