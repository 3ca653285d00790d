import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.report.joined_table import JoinedTable

SCHEMA = pa.schema([("sample_id", pa.string()), ("caption", pa.string())])


def groups_of(path):
    metadata = pq.read_metadata(path)
    return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]


def table(start, stop):
    ids = [str(n) for n in range(start, stop)]
    return pa.table({"extra": ids, "caption": [i * 2 for i in ids], "sample_id": ids})


def test_small_tables_share_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.report.joined_table.ROWS_PER_GROUP", 10)
    with JoinedTable(tmp_path / "a.parquet", SCHEMA) as joined:
        for start in range(0, 24, 4):
            joined.write(table(start, start + 4))
    assert groups_of(tmp_path / "a.parquet") == [12, 12]
    assert pq.read_table(tmp_path / "a.parquet").equals(table(0, 24).select(SCHEMA.names))


def test_row_group_ends_where_memory_would_grow(tmp_path, monkeypatch):
    monkeypatch.setattr("stages.report.joined_table.BATCH_BYTES", 100)
    with JoinedTable(tmp_path / "a.parquet", SCHEMA) as joined:
        for start in range(0, 30, 10):
            joined.write(table(start, start + 10))
    assert groups_of(tmp_path / "a.parquet") == [10, 10, 10]


def test_file_without_rows_has_its_columns(tmp_path):
    with JoinedTable(tmp_path / "a.parquet", SCHEMA) as joined:
        joined.write(table(0, 0))
    assert pq.read_table(tmp_path / "a.parquet").equals(SCHEMA.empty_table())


def write_and_raise(path):
    with JoinedTable(path, SCHEMA) as joined:
        joined.write(table(0, 1))
        raise RuntimeError("torn")


def test_error_of_a_reader_passes_through(tmp_path):
    with pytest.raises(RuntimeError, match="torn"):
        write_and_raise(tmp_path / "a.parquet")
