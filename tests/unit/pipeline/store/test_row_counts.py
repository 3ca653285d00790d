from pipeline.store.records import Record
from pipeline.store.row_counts import RowCounts


def record(**counts):
    return Record(stage="s", fingerprint="f", shard="a", input_digest="i", output_digest="o", **counts)


def test_counts_of_records_are_summed():
    counts = RowCounts()
    counts.add(record(rows_in=5, rows_kept=3, rows_out=6, rejects={"b": 1, "a": 1}, notes={"n": 2}, duration_s=0.5))
    counts.add(record(rows_in=1, rows_kept=0, rows_out=0, rejects={"b": 1}, notes={"n": 1}, duration_s=1.0))
    assert counts.plain_rows() == {"rows_in": 6, "rows_kept": 3, "rows_out": 6, "rejects": {"a": 1, "b": 2}}
    assert (counts.notes, counts.seconds) == ({"n": 3}, 1.5)


def test_rejects_are_in_the_order_of_their_names():
    counts = RowCounts()
    counts.add(record(rows_in=2, rows_kept=0, rows_out=0, rejects={"b": 1, "a": 1}))
    assert list(counts.plain_rows()["rejects"]) == ["a", "b"]
