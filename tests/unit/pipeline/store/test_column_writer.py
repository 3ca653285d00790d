import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store.column_writer import ColumnWriter
from pipeline.store.storage import Storage
from pipeline.store.tables import read_light
from samples.columns import SAMPLE_ID, arrow_schema


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
