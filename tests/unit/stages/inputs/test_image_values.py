"""Images in columns of Arrow, of every type that tables have, damaged ones among them."""

import pyarrow as pa
import pytest

from stages.inputs.image_values import TooLarge, holds_images, image_reader

PAIR = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def values(array, max_bytes=10):
    read = image_reader(array, max_bytes)
    return [read(row) for row in range(len(array))]


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())]
)
def test_bytes_are_read_and_large_ones_counted(kind):
    array = pa.array([b"\xff", None, bytes(11)], pa.binary())
    array = array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)
    assert values(array) == [b"\xff", None, TooLarge(11)]
    assert values(array.slice(1)) == [None, TooLarge(11)]
    assert holds_images(kind)


def test_of_a_pair_the_bytes_count_and_then_the_path():
    found = [{"bytes": b"x", "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None, {"bytes": None, "path": None}]
    array = pa.array(found, PAIR)
    assert values(array) == [b"x", "b.jpg", None, None]
    assert values(array.slice(1, 2)) == ["b.jpg", None]
    assert holds_images(PAIR)


def test_names_that_no_file_has_are_none():
    assert values(pa.array(["a.jpg", "x" * 5000, None])) == ["a.jpg", None, None]


def test_index_that_points_nowhere_gives_no_image():
    indices = pa.Array.from_buffers(pa.int32(), 3, [None, pa.py_buffer(b"\1\0\0\0\x09\0\0\0\xff\xff\xff\xff")])
    array = pa.DictionaryArray.from_arrays(indices, pa.array([b"a", b"b"]), safe=False)
    assert values(array) == [b"b", None, None]


@pytest.mark.parametrize("kind", [pa.int32(), pa.list_(pa.binary()), pa.struct([("x", pa.int32())]), pa.null()])
def test_other_types_hold_no_images(kind):
    assert not holds_images(kind)
    assert values(pa.nulls(1, kind)) == [None]
