import pyarrow as pa

from pipeline.store.row_sizes import row_bytes


def test_size_of_a_row_counts_its_text_images_and_lists():
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
