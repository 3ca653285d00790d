import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import DamagedFileError
from pipeline.store.column_writer import ColumnWriter
from pipeline.store.storage import Storage
from pipeline.store.tables import read_batches, read_light
from samples.columns import SAMPLE_ID, arrow_schema


def table(ids):
    return pa.table({SAMPLE_ID: list(ids), "caption": [i.upper() for i in ids]})


def test_batches_are_read_forward_at_the_size_asked_for(tmp_path):
    writer = ColumnWriter(tmp_path / "a.parquet", arrow_schema((SAMPLE_ID, "caption")))
    writer.write(table("abcde"))
    writer.close()
    with (tmp_path / "a.parquet").open("rb") as handle:
        batches = list(read_batches(handle, [SAMPLE_ID], 2, "a.parquet"))
    assert [b.num_rows for b in batches] == [2, 2, 1]
    assert batches[0].column_names == [SAMPLE_ID]


def test_batches_end_where_a_row_group_does(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.column_writer.BATCH_BYTES", 50)
    writer = ColumnWriter(tmp_path / "a.parquet", arrow_schema((SAMPLE_ID, "caption")))
    writer.write(table("abcde"))
    writer.close()
    with (tmp_path / "a.parquet").open("rb") as handle:
        assert [b.num_rows for b in read_batches(handle, [SAMPLE_ID], 100, "a.parquet")] == [3, 2]


def test_flipped_byte_of_a_value_is_noticed_and_the_file_is_named(tmp_path):
    writer = ColumnWriter(tmp_path / "a.parquet", pa.schema([(SAMPLE_ID, pa.string()), ("source_raw", pa.binary())]))
    writer.write(pa.table({SAMPLE_ID: ["a"], "source_raw": [b"pixels"]}))
    writer.close()
    content = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(content.replace(b"pixels", b"pixelz"))
    with pytest.raises(
        DamagedFileError, match=r"^a.parquet cannot be read as Parquet \(.*\); remove it and build again$"
    ):
        read_light(Storage(str(tmp_path)), "a.parquet", [SAMPLE_ID, "source_raw"])


@pytest.mark.parametrize(
    "fault", [TimeoutError("no answer"), ConnectionError("gone"), OSError(5, "input/output error")]
)
@pytest.mark.parametrize("num_reads", [0, 1])
def test_fault_of_the_network_is_not_called_damage(fault, num_reads):
    content = io.BytesIO()
    pq.write_table(table("abc"), content)

    class Remote(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            self.reads += 1
            if self.reads > num_reads:
                raise fault
            return super().read(size)

    with pytest.raises(type(fault)) as caught:
        list(read_batches(Remote(content.getvalue()), ["caption"], 5, "a.parquet"))
    assert caught.value is fault
