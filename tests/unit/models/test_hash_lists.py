"""Files of hashes: what is written is read, and nothing else is."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import ModelError
from models import hash_lists, registry
from models.hash_lists import read_hash_list, write_hash_list

PAIRS = [(5, 2**64 - 1), (1, 2), (5, 7), (1, 2)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bench.hashes.parquet"
    write_hash_list(path, "my bench", PAIRS, num_images=3)
    return path


def test_list_is_read_as_it_was_written(path):
    found = registry.load("HashList", f"path:{path}")
    assert (found.name, found.num_images) == ("my bench", 3)
    assert found.dhash_N.dtype == np.uint64
    assert list(zip(found.dhash_N.tolist(), found.phash_N.tolist(), strict=True)) == sorted(set(PAIRS))


def test_order_of_the_images_does_not_change_the_file(path, tmp_path):
    other = tmp_path / "other.hashes.parquet"
    assert write_hash_list(other, "my bench", reversed(PAIRS), num_images=3) == 3
    assert other.read_bytes() == path.read_bytes()


def test_changed_list_has_another_revision(path):
    before = registry.revision(f"path:{path}")
    write_hash_list(path, "my bench", PAIRS[:1], num_images=1)
    assert registry.revision(f"path:{path}") != before


def test_list_serves_nothing_else(path):
    assert "'image_hashes', which cannot serve Detector" in registry.cannot_serve("Detector", f"path:{path}")


def table(**columns):
    return pa.table({name: pa.array(values, kind) for name, (values, kind) in columns.items()})


GOOD = {"dhash": ([1], pa.uint64()), "phash": ([2], pa.uint64())}
FACTS = {hash_lists.KEY: hash_lists.VERSION, hash_lists.NAME_KEY: b"x", hash_lists.COUNT_KEY: b"1"}


@pytest.mark.parametrize(
    ("columns", "facts", "reason"),
    [
        (GOOD, {}, "is no list of hashes of this version"),
        (GOOD, FACTS | {hash_lists.KEY: b"0"}, "is no list of hashes of this version"),
        ({"dhash": ([1], pa.uint64())}, FACTS, "lacks hashes of 64 bits|cannot be read"),
        (GOOD | {"phash": ([2], pa.int64())}, FACTS, "lacks hashes of 64 bits in each row"),
        (GOOD | {"phash": ([None], pa.uint64())}, FACTS, "lacks hashes of 64 bits in each row"),
        (GOOD, FACTS | {hash_lists.COUNT_KEY: b"-4"}, "or the number of its images"),
        ({name: ([], pa.uint64()) for name in GOOD}, FACTS, "has 0 hashes; expected 1 to 10000000"),
    ],
)
def test_other_table_is_refused(tmp_path, columns, facts, reason):
    path = tmp_path / "x.hashes.parquet"
    pq.write_table(table(**columns).replace_schema_metadata(facts), path)
    with pytest.raises(ModelError, match=reason) as caught:
        read_hash_list(path)
    assert str(caught.value).endswith("make it with `editloom hash-images`")


@pytest.mark.parametrize("content", [b"", b"PAR1 and no table PAR1", b"\x80\x04pickle"])
def test_file_that_is_no_parquet_is_refused(tmp_path, content):
    path = tmp_path / "x.hashes.parquet"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as a list of hashes") as caught:
        read_hash_list(path)
    assert "\n" not in str(caught.value)


def test_name_of_a_list_is_one_short_line(tmp_path):
    path = tmp_path / "x.hashes.parquet"
    write_hash_list(path, "a\nb \x1b[2J\udcff" + "c" * 500, PAIRS, num_images=1)
    name = read_hash_list(path).name
    assert name.startswith("a b ?[2J?ccc")
    assert len(name) == hash_lists.MAX_NAME_CHARS
