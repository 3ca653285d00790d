"""Cost of tars made to be costly: peak memory and time of a fresh process for each."""

import json
import subprocess
import sys
import tarfile
from collections import Counter

import pytest
from _inputs import END, header, jpeg, member, padded, tar_of

from stages.inputs.tar_headers import FULL_NOTE
from stages.inputs.tar_index import Place, TarIndex
from stages.inputs.tar_samples import read_samples

MIB = 1 << 20
IMAGE = jpeg(1)

PEAK = """
def peak():  # of this process alone, in bytes; resource's figure starts at that of the process it was started by
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
"""
MEASURE = (
    PEAK
    + """
import json, sys, time
import pyarrow
from stages.read_webdataset import ReadWebdataset
from pipeline.context import Context
stage, ctx = ReadWebdataset(), Context(stage_name="test")
read = stage.open(ctx)
warm, shard = stage.list_shards(sys.argv[1:])
list(read(warm))  # what the first reading imports is no cost of the second
before, begun = peak(), time.process_time()
rows = sum(table.num_rows for table in read(shard))
print(json.dumps([rows, peak() - before, time.process_time() - begun, dict(ctx.notes)]))
"""
)


def measured(path):
    """(rows, bytes by which the peak grew, CPU seconds, notes) of reading the tar in a process of its own."""
    small = path.with_name("a-small.tar")
    small.write_bytes(tar_of(("k.jpg", IMAGE), ("k.txt", b"x")))
    argv = [sys.executable, "-c", MEASURE, str(small), str(path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def pax_header(kind, *pairs):
    content = b""
    for key, value in pairs:
        body = b" %s=%s\n" % (key, value)
        length = len(body)
        while len(str(length)) + len(body) != length:
            length += 1
        content += b"%d" % length + body
    return bytes(header("pax", len(content), kind)) + padded(content)


def test_global_headers_are_not_kept_for_every_member(tmp_path):
    """Each of 400 global headers had 300 records of its own, and every member kept all there were so far."""
    with (tmp_path / "bomb.tar").open("wb") as out:
        for number in range(400):
            records = [(b"k%d.%d" % (number, index), b"") for index in range(300)]
            out.write(pax_header(tarfile.XGLTYPE, *records) + member(f"{number}.jpg", b""))
        out.write(END)
    rows, grown, seconds, _ = measured(tmp_path / "bomb.tar")
    assert rows == 400
    assert grown < 40 * MIB
    assert seconds < 5


def test_members_beyond_the_limit_are_not_read_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.inputs.tar_index.MAX_INDEX_BYTES", 2800)
    (tmp_path / "many.tar").write_bytes(tar_of(*((f"{n}.jpg", IMAGE) for n in range(12))))
    notes = Counter()
    assert len(list(read_samples(str(tmp_path / "many.tar"), 10**6, notes))) == 10
    assert notes == {FULL_NOTE: 2 * len(member("x.jpg", IMAGE)) + len(END)}


INDEX = (
    PEAK
    + """
import sys
from stages.inputs import tar_index
from stages.inputs.tar_index import IndexFullError, Place, TarIndex
tar_index.MAX_INDEX_BYTES = 64 << 20
name_of = {
    "keys": lambda n: (f"folder/{n:09d}", "jpg"),
    "repeated": lambda n: ("key", "jpg"),
    "suffixes": lambda n: (f"{n // 50}", f"\U0001f600{n}"),
    "long": lambda n: (f"{n}\u9ed2" * 700, "jpg"),
    "three": lambda n: (f"folder/{n // 3:09d}", ("jpg", "txt", "json")[n % 3]),
}[sys.argv[1]]
index, number, before = TarIndex(), 0, peak()
try:
    while True:
        index.add(*name_of(number), Place((1 << 40) + number, 1 << 30, False))
        number += 1
except IndexFullError:
    print(peak() - before)
"""
)


@pytest.mark.parametrize("shape", ["keys", "repeated", "suffixes", "long", "three"])
def test_an_index_keeps_to_its_budget_whatever_the_names(shape):
    done = subprocess.run([sys.executable, "-c", INDEX, shape], capture_output=True, text=True, check=True)
    assert 10 * MIB < int(done.stdout) < 80 * MIB


def test_an_index_takes_members_of_any_size():
    index = TarIndex()
    index.add("k", "jpg", Place(5, 1 << 87, is_sparse=False))
    ((_, _, members),) = index.groups()
    assert members["jpg"].size >= 1 << 62


LONG = bytes(header("x", 1000, tarfile.GNUTYPE_LONGNAME)) + padded(b"n" * 999 + b"\0")


@pytest.mark.parametrize(
    "headers",
    [
        LONG,
        pax_header(tarfile.XHDTYPE, *((b"comment", b"") for _ in range(500))),
        pax_header(tarfile.XGLTYPE, *((b"comment", b"") for _ in range(500))),
    ],
)
def test_time_is_linear_in_headers_before_members(tmp_path, headers):
    with (tmp_path / "deep.tar").open("wb") as out:
        for number in range(1000):
            out.write(headers * 2 + pax_header(tarfile.XHDTYPE, (b"path", b"%d.jpg" % number)) + member("x", b""))
        out.write(END)
    rows, grown, seconds, _ = measured(tmp_path / "deep.tar")
    assert rows == 1000
    assert grown < 40 * MIB
    assert seconds < 5
