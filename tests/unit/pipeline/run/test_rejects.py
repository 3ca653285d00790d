import json

import pyarrow as pa
import pytest

from core.errors import ContractError
from pipeline.run.rejects import MAX_DETAIL_CHARS, MAX_VALUE_CHARS, REJECT_SCHEMA, RejectLog, split
from samples.columns import SAMPLE_ID, column


def rejected(reasons, **columns):
    ids = [str(n) for n in range(len(reasons))]
    return pa.table({SAMPLE_ID: ids, "reject_reason": pa.array(reasons, pa.string()), **columns})


def test_unknown_reason_is_refused():
    log = RejectLog("upper", "a", ["dropped"])
    with pytest.raises(ContractError) as caught:
        log.add(rejected(["dropped", "typo"]))
    assert str(caught.value) == "stage upper: reject reason 'typo' is not in its `rejects` enum"


def test_reasons_are_counted():
    log = RejectLog("upper", "a", ["x", "y"])
    log.add(rejected(["x", "y"]))
    log.add(rejected(["x"]))
    assert log.counts == {"x": 2, "y": 1}
    assert log.total == 3
    assert log.table().num_rows == 3


def test_reasons_of_the_engine_are_always_allowed():
    log = RejectLog("upper", "a", [])
    log.add(rejected(["exception", "duplicate_image"]))
    assert log.total == 2


def test_row_is_kept_as_json_without_pixels_nulls_and_keys():
    log = RejectLog("upper", "a", ["x"])
    images = pa.array([[b"\xff\xd8"]], column("source_images").type)
    raw = pa.array([b"\xff\xd8"], pa.binary())
    log.add(
        rejected(["x"], caption=["ünï"], source_images=images, source_raw=raw, source_url=pa.array([None], pa.string()))
    )
    [row] = log.table().to_pylist()
    assert json.loads(row["row"]) == {"caption": "ünï"}
    assert (row["shard"], row["stage"], row[SAMPLE_ID], row["reject_detail"]) == ("a", "upper", "0", None)


def test_long_texts_are_cut():
    log = RejectLog("upper", "a", ["x"])
    log.add(rejected(["x"], caption=["c" * 9999], reject_detail=["d" * 9999]))
    [row] = log.table().to_pylist()
    assert len(row["reject_detail"]) == MAX_DETAIL_CHARS
    assert len(json.loads(row["row"])["caption"]) == MAX_VALUE_CHARS


def test_log_without_rows_is_an_empty_table_of_the_same_columns():
    log = RejectLog("upper", "a", [])
    log.add(rejected([]))
    assert log.table() == REJECT_SCHEMA.empty_table()


def test_table_is_split_by_reason():
    kept, out = split(rejected([None, "x", None]))
    assert kept[SAMPLE_ID].to_pylist() == ["0", "2"]
    assert out[SAMPLE_ID].to_pylist() == ["1"]


@pytest.mark.parametrize("table", [rejected([None, None]), pa.table({SAMPLE_ID: ["0", "1"]})])
def test_table_without_rejects_is_kept_whole(table):
    kept, out = split(table)
    assert kept is table
    assert out.num_rows == 0


def test_drained_rows_stay_counted_but_leave_memory():
    log = RejectLog("upper", "a", ["x"])
    log.add(rejected(["x", "x"]))
    assert log.held_bytes > 0
    assert log.drain().num_rows == 2
    assert (log.held_bytes, log.table().num_rows, log.total) == (0, 0, 2)
