import pyarrow as pa
import pytest

from core.errors import ContractError
from samples.columns import COLUMNS, arrow_schema, column


def test_unknown_column_is_refused_with_the_nearest_name():
    with pytest.raises(ContractError) as caught:
        column("captoin")
    assert str(caught.value) == "column 'captoin' is not declared in samples/columns.py (did you mean 'caption'?)"


def test_arrow_schema_keeps_the_order_asked_for():
    schema = arrow_schema(("width_px", "caption"))
    assert schema == pa.schema([("width_px", pa.int32()), ("caption", pa.string())])


def test_every_column_says_its_unit_and_meaning_under_its_own_name():
    for name, declared in COLUMNS.items():
        assert declared.name == name
        assert declared.unit, name
        assert declared.meaning, name


def test_virtual_columns_are_bulk_and_so_in_no_table_of_rejects():
    assert all(c.bulk for c in COLUMNS.values() if c.virtual)


def test_binary_columns_are_bulk():
    binary = [c for c in COLUMNS.values() if c.type in (pa.binary(), pa.list_(pa.binary()))]
    assert binary
    assert all(c.bulk for c in binary)
