import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import ContractError, DamagedFileError
from pipeline.store.storage import Storage
from pipeline.store.tables import ColumnWriter, Cursor, read_batches, read_light, row_bytes
from samples.columns import SAMPLE_ID, arrow_schema


def table(ids):
    return pa.table({SAMPLE_ID: list(ids), "caption": [i.upper() for i in ids]})


def cursor(*groups):
    return Cursor([table(g) for g in groups], ["caption"], "upper/a")


def taken(result):
    return result["caption"].to_pylist()


def test_rows_are_taken_across_tables_and_others_skipped():
    reader = cursor("abc", "def", "ghi")
    assert taken(reader.take(["b", "f"])) == ["B", "F"]
    assert taken(reader.take(["g", "h"])) == ["G", "H"]


def test_id_may_be_asked_for_several_times_in_a_row():
    reader = cursor("ab", "cd")
    assert taken(reader.take(["a", "a", "b"])) == ["A", "A", "B"]
    assert taken(reader.take(["b", "d", "d"])) == ["B", "D", "D"]


def test_asking_for_nothing_gives_the_columns_without_rows():
    empty = cursor("ab").take([])
    assert empty.num_rows == 0
    assert empty.schema == arrow_schema(("caption",))


def test_empty_tables_in_between_are_passed_over():
    empty = pa.schema([(SAMPLE_ID, pa.string()), ("caption", pa.string())]).empty_table()
    reader = Cursor([table("a"), empty, table("b")], ["caption"], "x")
    assert taken(reader.take(["a", "b"])) == ["A", "B"]


def test_missing_row_is_named_with_its_origin():
    with pytest.raises(ContractError) as caught:
        cursor("ab").take(["a", "x"])
    assert str(caught.value) == "upper/a: row 'x' is missing or out of order"


def test_row_asked_for_out_of_order_is_refused():
    with pytest.raises(ContractError, match=r"^upper/a: row 'a' is missing or out of order$"):
        cursor("abc").take(["b", "a"])


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


def test_batches_are_read_forward_at_the_size_asked_for(tmp_path):
    writer = ColumnWriter(tmp_path / "a.parquet", arrow_schema((SAMPLE_ID, "caption")))
    writer.write(table("abcde"))
    writer.close()
    with (tmp_path / "a.parquet").open("rb") as handle:
        batches = list(read_batches(handle, [SAMPLE_ID], 2, "a.parquet"))
    assert [b.num_rows for b in batches] == [2, 2, 1]
    assert batches[0].column_names == [SAMPLE_ID]


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


def test_rows_weigh_their_text_images_and_lists():
    rows = pa.table(
        {
            "caption": pa.array(["", "ab", None, "ü"]),
            "source_raw": pa.array([b"123", None, b"", b"1"], pa.binary()),
            "source_images": pa.array([[b"12", b"3"], [], None, [b"1234"]], pa.list_(pa.binary())),
            "image_embedding": pa.array([[1.0, 2.0], None, [], [1.0]], pa.list_(pa.float16())),
            "turn": pa.array([1, 2, None, 4], pa.int32()),
        }
    )
    own = [3 + 3 + 16, 2, 0, 2 + 1 + 4 + 8]
    fixed = 8 * 5 + 8
    assert row_bytes(rows).tolist() == [n + fixed for n in own]
    assert row_bytes(rows.slice(1, 2)).tolist() == [n + fixed for n in own[1:3]]
    assert row_bytes(rows.slice(0, 0)).tolist() == []
    assert row_bytes(pa.concat_tables([rows, rows.slice(3)])).tolist() == [n + fixed for n in [*own, own[3]]]


def test_a_row_group_ends_with_the_row_that_fills_it_however_rows_came(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.tables.BATCH_BYTES", 1000)
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


def test_batches_end_where_a_row_group_does(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.tables.BATCH_BYTES", 50)
    writer = ColumnWriter(tmp_path / "a.parquet", arrow_schema((SAMPLE_ID, "caption")))
    writer.write(table("abcde"))
    writer.close()
    with (tmp_path / "a.parquet").open("rb") as handle:
        assert [b.num_rows for b in read_batches(handle, [SAMPLE_ID], 100, "a.parquet")] == [3, 2]


def test_a_cursor_stops_with_the_row_that_fills_the_room():
    weight = 8 + 1
    reader = cursor("abcd", "ef")
    assert taken(reader.take("abcdef", 2 * weight)) == ["A", "B"]
    assert taken(reader.take("bbcdef", weight * 2 + 1)) == ["B", "B", "C"]
    assert taken(reader.take("def")) == ["D", "E", "F"]


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
