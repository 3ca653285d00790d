import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import ShardFailed
from stages.download.status import IDENTITY, SCHEMA, UrlStatus, read_labelled, write_statuses

ROW = UrlStatus(key="000000001", url="http://x/1.jpg", caption="a", metadata="{}")


def refused(path, *changes):
    """The table of one row, changed, cannot be read as statuses."""
    write_statuses([ROW], path)
    table = pq.read_table(path)
    for change in changes:
        table = change(table)
    pq.write_table(table, path)
    with pytest.raises(ShardFailed, match="status table"):
        read_labelled(path)


def test_statuses_come_back_as_they_were_written(tmp_path):
    write_statuses([ROW], tmp_path / "s.parquet", "identity", "sha")
    assert read_labelled(tmp_path / "s.parquet") == ([ROW], "identity", "sha")


@pytest.mark.parametrize("name", ["key", "url", "caption", "metadata"])
def test_table_without_a_column_that_every_row_has_is_refused(tmp_path, name):
    refused(tmp_path / "s.parquet", lambda table: table.drop_columns([name]))


def test_table_with_a_label_that_is_no_text_is_refused(tmp_path):
    refused(tmp_path / "s.parquet", lambda table: table.replace_schema_metadata({IDENTITY: b"\xff"}))


def test_table_with_text_that_is_no_text_is_refused(tmp_path):
    odd = pa.array([b"\xff"]).view(pa.string())
    refused(tmp_path / "s.parquet", lambda table: table.set_column(SCHEMA.get_field_index("url"), "url", odd))
