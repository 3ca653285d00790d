import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.store.column_writer import ColumnWriter
from pipeline.store.storage import Storage
from pipeline.store.tables import read_light
from samples.columns import COLUMNS, SAMPLE_ID, arrow_schema


def table(ids):
    return pa.table({SAMPLE_ID: list(ids), "caption": [i.upper() for i in ids]})


def test_lists_of_pixels_come_back_byte_for_byte(tmp_path):
    schema = arrow_schema((SAMPLE_ID, "source_images", "caption", "duplicate_cluster_size"))
    writer = ColumnWriter(tmp_path / "a.parquet", schema)
    images = [[b"\xff\xd8 one"], [], None, [b"two", b"three"]]
    for n, image in enumerate(images):
        row = {SAMPLE_ID: str(n), "source_images": image, "caption": "same", "duplicate_cluster_size": n}
        writer.write(pa.Table.from_pylist([row], schema=schema))
    writer.close()
    back = pq.read_table(tmp_path / "a.parquet", use_threads=False)
    assert back.schema.equals(schema)
    assert back["source_images"].to_pylist() == images
    assert writer.rows == 4


def test_pixels_are_stored_as_they_are_and_text_compressed(tmp_path):
    schema = arrow_schema((SAMPLE_ID, "source_images", "caption"))
    writer = ColumnWriter(tmp_path / "a.parquet", schema)
    writer.write(pa.Table.from_pylist([{SAMPLE_ID: "1", "source_images": [b"x"], "caption": "y"}], schema=schema))
    writer.close()
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    codecs = {group.column(i).path_in_schema.split(".")[0]: group.column(i).compression for i in range(3)}
    assert codecs == {SAMPLE_ID: "ZSTD", "source_images": "UNCOMPRESSED", "caption": "ZSTD"}


def test_file_without_rows_has_its_columns(tmp_path):
    schema = arrow_schema((SAMPLE_ID, "source_images"))
    ColumnWriter(tmp_path / "a.parquet", schema).close()
    assert pq.read_schema(tmp_path / "a.parquet").equals(schema)


def test_writer_drops_columns_that_are_not_its_own(tmp_path):
    writer = ColumnWriter(tmp_path / "a.parquet", arrow_schema((SAMPLE_ID,)))
    writer.write(table("ab"))
    writer.close()
    assert read_light(Storage(str(tmp_path)), "a.parquet", [SAMPLE_ID])[SAMPLE_ID].to_pylist() == ["a", "b"]


def test_same_rows_give_the_same_bytes_however_they_were_batched(tmp_path):
    schema = pa.schema([("sample_id", pa.string()), ("source_images", pa.list_(pa.binary()))])
    rows = pa.table({"sample_id": [f"{i:05d}" for i in range(300)], "source_images": [[b"x" * 900]] * 300})
    contents = []
    for size in (1, 37, 300):
        writer = ColumnWriter(tmp_path / f"{size}.parquet", schema)
        for start in range(0, 300, size):
            writer.write(rows.slice(start, size))
        writer.close()
        contents.append((tmp_path / f"{size}.parquet").read_bytes())
    assert contents[0] == contents[1] == contents[2]


def test_a_row_group_ends_with_the_row_that_fills_it_however_rows_came(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.column_writer.BATCH_BYTES", 1000)
    schema = pa.schema([(SAMPLE_ID, pa.string()), ("caption", pa.string())])
    rows = pa.table({SAMPLE_ID: [f"{n:02d}" for n in range(20)], "caption": ["c" * (n % 5 * 200) for n in range(20)]})
    written = []
    for size in (1, 3, 20):
        writer = ColumnWriter(tmp_path / f"{size}.parquet", schema)
        for start in range(0, 20, size):
            writer.write(rows.slice(start, size))
        writer.close()
        written.append((tmp_path / f"{size}.parquet").read_bytes())
    assert written[0] == written[1] == written[2]
    groups = pq.ParquetFile(tmp_path / "1.parquet").metadata
    assert [groups.row_group(g).num_rows for g in range(groups.num_row_groups)] == [4, 3, 2, 3, 2, 3, 2, 1]


def test_named_texts_are_stored_beside_the_rows(tmp_path):
    writer = ColumnWriter(tmp_path / "a.parquet", arrow_schema((SAMPLE_ID,)))
    writer.write(table("ab"))
    writer.add_metadata({})
    writer.add_metadata({"counts": '{"caf\u00e9": 1}'})
    writer.close()
    found = pq.read_metadata(tmp_path / "a.parquet").metadata
    assert found[b"counts"].decode() == '{"caf\u00e9": 1}'
    assert read_light(Storage(str(tmp_path)), "a.parquet", [SAMPLE_ID])[SAMPLE_ID].to_pylist() == ["a", "b"]


def group_sizes(path):
    found = pq.ParquetFile(path).metadata
    return [found.row_group(group).num_rows for group in range(found.num_row_groups)]


def written(path, rows, batch):
    writer = ColumnWriter(path, rows.schema)
    for start in range(0, rows.num_rows, batch):
        writer.write(rows.slice(start, batch))
    writer.close()
    return path.read_bytes()


IMAGE_SIZES = [200_000, 200_000, 200_000, 1, 700_000, 10, 20, 523_500, 1000, 400]


@pytest.mark.parametrize("batch", [1, 3, 10])
def test_row_group_of_bulk_columns_ends_at_half_a_megabyte(tmp_path, batch):
    images = pa.array([[b"x" * size] for size in IMAGE_SIZES], pa.list_(pa.binary()))
    rows = pa.table({SAMPLE_ID: [f"{n}" for n in range(len(IMAGE_SIZES))], "source_images": images})
    content = written(tmp_path / "a.parquet", rows, batch)
    assert group_sizes(tmp_path / "a.parquet") == [3, 2, 4, 1]
    assert content == written(tmp_path / "b.parquet", rows, 10)


@pytest.mark.parametrize("batch", [1, 4, 10])
def test_row_group_of_vectors_ends_with_the_row_that_fills_it(tmp_path, monkeypatch, batch):
    monkeypatch.setattr("pipeline.store.column_writer.BULK_GROUP_BYTES", 1000)
    vectors = pa.array([np.full(40, 0.5, np.float16)] * 10, COLUMNS["image_embedding"].type)
    rows = pa.table({SAMPLE_ID: [f"{n}" for n in range(10)], "image_embedding": vectors})
    content = written(tmp_path / "a.parquet", rows, batch)
    assert group_sizes(tmp_path / "a.parquet") == [3, 3, 3, 1]
    assert content == written(tmp_path / "b.parquet", rows, 10)


def test_row_group_of_light_columns_ends_at_its_rows_or_many_bytes(tmp_path, monkeypatch):
    rows = pa.table({SAMPLE_ID: [f"{n}" for n in range(10)], "caption": ["c" * size for size in IMAGE_SIZES]})
    written(tmp_path / "a.parquet", rows, 3)
    assert group_sizes(tmp_path / "a.parquet") == [10]
    monkeypatch.setattr("pipeline.store.column_writer.ROW_GROUP_ROWS", 4)
    written(tmp_path / "a.parquet", rows, 3)
    assert group_sizes(tmp_path / "a.parquet") == [4, 4, 2]
    monkeypatch.setattr("pipeline.store.column_writer.BULK_GROUP_ROWS", 4)


@pytest.mark.parametrize("batch", [1, 50, 150])
def test_row_group_of_small_bulk_columns_ends_after_64_rows(tmp_path, batch):
    rows = pa.table({SAMPLE_ID: [f"{n}" for n in range(150)], "source_raw": [b"1"] * 150})
    content = written(tmp_path / "a.parquet", rows, batch)
    assert group_sizes(tmp_path / "a.parquet") == [64, 64, 22]
    assert content == written(tmp_path / "b.parquet", rows, 150)
