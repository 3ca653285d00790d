"""Values of Arrow as JSON has them: whatever the type and however extreme, none raises."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _inputs import jpeg, read_rows

from core.errors import ShardFailed
from stages.inputs.arrow_values import MAX_ITEMS, MAX_VALUE_BYTES, rows_of
from stages.read_image_folder import ReadImageFolder

EXTREMES = [0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 1_577_923_200, 86_399_999, 86_400_000]


def of_bits(kind):
    """An array of a type of 32 or 64 bits from extreme patterns of bits, and a null."""
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    held = [n for n in EXTREMES if width == pa.int64() or -(2**31) <= n < 2**31]
    return pa.array([*held, None], width).view(kind)


TIMES = [
    *(pa.timestamp(u, z) for u in ("s", "ms", "us", "ns") for z in (None, "UTC", "Europe/Paris", "No/Where")),
    *(pa.duration(u) for u in ("s", "ms", "us", "ns")),
    pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.date32(), pa.date64(),
]  # fmt: skip
BROKEN_TEXT = pa.array([b"\xff\xfe", b"ok", None], pa.binary())
ARRAYS = [
    *(of_bits(kind) for kind in TIMES),
    BROKEN_TEXT, BROKEN_TEXT.view(pa.string()), BROKEN_TEXT.cast(pa.large_binary()).view(pa.large_string()),
    pa.array(["x" * (MAX_VALUE_BYTES + 1), "y"]), pa.array(["a", None], pa.string_view()), pa.nulls(3),
    pa.array([1.5, float("nan"), float("-inf"), None], pa.float16()), pa.array([1e308, float("inf")]),
    pa.array([2**64 - 1, None], pa.uint64()), pa.array([True, None]),
    pa.array([None, "1.5"]).cast(pa.decimal128(38, 2)), pa.array(["9" * 70]).cast(pa.decimal256(76, 0)),
    pa.array([[1, None], [], None, [3]], pa.list_(pa.int8())), pa.array([list(range(MAX_ITEMS + 1)), [1]]),
    pa.array([[[1] * 200] * 200, [[1]]]), pa.array([[[b"\xff"]], None], pa.list_(pa.list_(pa.binary()))),
    pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int16(), 2)), pa.array([[1], None], pa.list_view(pa.int8())),
    pa.array([{"a": {"b": [b"\xff", None]}}, None]), pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
    pa.array(["a", None, "a"]).dictionary_encode(), pa.array([b"a", b"\xff"]).dictionary_encode(),
    pa.array([b"abcd", b"\xff\0\0\0"], pa.binary(4)), pa.array([(1, 2, 3), None], pa.month_day_nano_interval()),
    pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), None], pa.binary(16))),
    pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]),
    pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["x", "y"])]),
]  # fmt: skip


def values_of(array):
    """All values of an array, as rows have them."""
    return [row["x"] for row in rows_of(pa.RecordBatch.from_arrays([array], names=["x"]))]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type)[:40])
def test_every_value_is_plain_json_and_the_same_in_any_slice(array):
    values = values_of(array)
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    json.dumps(values, ensure_ascii=False).encode()
    rng = random.Random(1)
    for _ in range(10):
        start = rng.randrange(len(array))
        stop = rng.randrange(start, len(array)) + 1
        assert values_of(array.slice(start, stop - start)) == values[start:stop]


def test_nested_arrays_of_every_type_are_plain_too():
    for array in ARRAYS:
        within = pa.StructArray.from_arrays([array], ["x"])
        lists = pa.ListArray.from_arrays(pa.array([0, 1, len(array)], pa.int32()), array)
        assert [row["x"] for row in values_of(within)] == values_of(array)
        json.dumps(values_of(lists), allow_nan=False)


def test_times_that_no_calendar_holds_are_none():
    assert values_of(pa.array([2**62, 1_577_923_200], pa.int64()).view(pa.timestamp("s"))) == [
        None, "2020-01-02 00:00:00",
    ]  # fmt: skip
    assert values_of(pa.array([10**9, 18_263], pa.int32()).view(pa.date32())) == [None, "2020-01-02"]


def test_texts_and_lists_beyond_the_limits_are_none():
    assert values_of(pa.array(["x" * (MAX_VALUE_BYTES + 1), "y"])) == [None, "y"]
    assert values_of(pa.array([list(range(MAX_ITEMS + 1)), [1]])) == [None, [1]]
    assert values_of(pa.array([[[1] * 200] * 200, [[1]]])) == [None, [[1]]]


def test_a_text_that_many_rows_share_is_made_once():
    batch = pa.record_batch({"t": pa.array(["long", "long", "other"]).dictionary_encode()})
    first, second, _ = (row["t"] for row in rows_of(batch))
    assert first is second


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type)[:40])
def test_no_extra_column_of_parquet_costs_a_row(tmp_path, array):
    (tmp_path / "a.jpg").write_bytes(jpeg(0))
    made = {"file_name": ["a.jpg"] * len(array), "text": ["a car"] * len(array), "odd": array}
    try:
        pq.write_table(pa.table(made), tmp_path / "metadata.parquet")
    except (pa.ArrowException, OSError):
        pytest.skip("Parquet does not hold this type")
    try:
        rows, _ = read_rows(ReadImageFolder(), tmp_path)
    except ShardFailed as error:  # the writer's own damage: text that is none
        pytest.fail(str(error))
    assert [r["caption"] for r in rows] == ["a car"] * len(array)
    assert [r["reject_reason"] for r in rows] == [None] * len(array)
