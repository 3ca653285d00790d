import pyarrow as pa
import pytest

from core.errors import ContractError
from pipeline.store.cursor import AlignedCursor, Cursor
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


def test_empty_tables_in_between_are_skipped():
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


def test_a_cursor_stops_with_the_row_that_fills_the_room():
    weight = 8 + 1
    reader = cursor("abcd", "ef")
    assert taken(reader.take("abcdef", 2 * weight)) == ["A", "B"]
    assert taken(reader.take("bbcdef", weight * 2 + 1)) == ["B", "B", "C"]
    assert taken(reader.take("def")) == ["D", "E", "F"]


def test_aligned_cursor_gives_the_next_rows_across_tables():
    reader = AlignedCursor([table(g) for g in ("abc", "", "d", "ef") if g], ["caption"], "upper/a")
    assert taken(reader.take("ab")) == ["A", "B"]
    assert taken(reader.take("cde")) == ["C", "D", "E"]
    assert taken(reader.take("f")) == ["F"]
    with pytest.raises(ContractError, match=r"^upper/a: row 'g' is missing or out of order$"):
        reader.take("g")


@pytest.mark.parametrize("room", [1, 9, 10, 18, 19, 27, 1000])
def test_aligned_cursor_stops_where_the_other_one_does(room):
    both = [kind([table("abc"), table("de")], ["caption"], "x") for kind in (AlignedCursor, Cursor)]
    left = "abcde"
    while left:
        first, second = (taken(cursor.take(left, room)) for cursor in both)
        assert first == second != []
        left = left[len(first) :]
