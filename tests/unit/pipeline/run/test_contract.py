import pyarrow as pa
import pytest
from _fakes import Best, Pack, Pixels, ReadLines, Twins, Upper, manifest_of, source_table

from core.errors import ContractError
from pipeline.plan.plan import plan_stages
from pipeline.run.contract import bulk_schema, check_expanded, check_mapped, check_source, row_schema
from samples.columns import PARENT_ID, SAMPLE_ID, arrow_schema

READ, UPPER, TWINS, BEST, PACK = plan_stages(manifest_of(ReadLines(), Upper(), Twins(), Best(), Pack()))


def mapped(ids, **columns):
    return pa.table({SAMPLE_ID: pa.array(ids, pa.string()), **columns})


def expanded(*rows):
    names = (SAMPLE_ID, PARENT_ID, "reject_reason", "instruction")
    return pa.Table.from_pylist(
        [dict(zip(names, row, strict=False)) for row in rows], schema=pa.schema([(n, pa.string()) for n in names])
    )


def refusal(check, *args):
    with pytest.raises(ContractError) as caught:
        check(*args)
    return str(caught.value)


def test_map_that_keeps_its_rows_passes():
    rows = mapped(["a", "b"], source_caption=["A", "B"])
    assert check_mapped(UPPER, ["a", "b"], rows) is rows


def test_lost_row_is_found():
    lost = mapped(["a"], source_caption=["A"])
    expected = "stage upper: 2 rows went in, 1 rows came out, or in another order"
    assert refusal(check_mapped, UPPER, ["a", "b"], lost) == expected


def test_row_moved_is_found():
    moved = mapped(["b", "a"], source_caption=["A", "B"])
    assert "or in another order" in refusal(check_mapped, UPPER, ["a", "b"], moved)


def test_table_without_ids_is_found():
    message = refusal(check_mapped, UPPER, ["a"], pa.table({"source_caption": ["A"]}))
    assert message == "stage upper: 1 rows went in, no sample_id column came out, or in another order"


def test_missing_column_is_named():
    expected = "stage upper: column 'source_caption' is declared in `writes` and was not returned"
    assert refusal(check_mapped, UPPER, ["a"], mapped(["a"])) == expected


def test_other_width_of_a_number_is_cast():
    wide = pa.table({SAMPLE_ID: ["a"], "duplicate_cluster_size": pa.array([3], pa.int64())})
    assert check_mapped(BEST, ["a"], wide)["duplicate_cluster_size"].type == pa.int32()


@pytest.mark.parametrize("values", [pa.array([2**40]), pa.array([[1]]), pa.array(["three"])])
def test_value_of_another_kind_is_refused_and_not_taken_for_a_bad_row(values):
    rows = pa.table({SAMPLE_ID: ["a"], "duplicate_cluster_size": values})
    message = refusal(check_mapped, BEST, ["a"], rows)
    assert message.startswith("stage best: column 'duplicate_cluster_size' is not int32: ")


def test_expand_with_children_and_a_reject_passes():
    rows = expanded(("a-e1", "a"), ("a-e2", "a"), ("b", None, "lonely"), ("c-e1", "c"))
    assert check_expanded(TWINS, ["a", "b", "c"], rows).num_rows == 4


def test_parent_lost_by_an_expand_is_found():
    expected = "stage twins: 2 parents went in, 1 came out, or in another order"
    assert refusal(check_expanded, TWINS, ["a", "b"], expanded(("a-e1", "a"))) == expected


def test_parents_out_of_order_are_found():
    assert "or in another order" in refusal(check_expanded, TWINS, ["a", "b"], expanded(("b-e1", "b"), ("a-e1", "a")))
    split = expanded(("a-e1", "a"), ("b-e1", "b"), ("a-e2", "a"))
    assert "or in another order" in refusal(check_expanded, TWINS, ["a", "b"], split)


@pytest.mark.parametrize("rows", [[("x", "a")], [("a", "a")], [("a-e1", "a"), ("a-e1", "a")]])
def test_child_not_named_after_its_parent_or_named_twice_is_found(rows):
    message = refusal(check_expanded, TWINS, ["a"], expanded(*rows))
    assert message == f"stage twins: child {rows[-1][0]!r} is not named after its parent 'a', or twice"


def test_source_without_a_column_is_found():
    rows = source_table(["one"])
    assert check_source(READ, rows).num_rows == 1
    assert "'caption'" in refusal(check_source, READ, rows.drop_columns(["caption"]))


def test_row_file_has_keys_and_stored_columns_only():
    assert row_schema(READ) == arrow_schema((SAMPLE_ID, "source_sha256", "source_size_bytes", "caption"))
    assert row_schema(TWINS) == arrow_schema((SAMPLE_ID, PARENT_ID, "instruction"))


def test_row_file_of_a_sink_has_the_light_columns_that_it_gets():
    assert row_schema(PACK) == arrow_schema((SAMPLE_ID, "dataset_shard", "caption"))


class TwinPixels(Twins):
    writes = ("instruction", "source_images")


def test_bulk_columns_are_in_a_file_of_their_own():
    _, pixels, twins, pack = plan_stages(manifest_of(ReadLines(), Pixels(), TwinPixels(), Pack()))
    assert row_schema(pixels) == arrow_schema((SAMPLE_ID,))
    assert bulk_schema(pixels) == arrow_schema((SAMPLE_ID, "source_images"))
    assert row_schema(twins) == arrow_schema((SAMPLE_ID, PARENT_ID, "instruction"))
    assert bulk_schema(twins) == arrow_schema((SAMPLE_ID, "source_images"))
    assert bulk_schema(pack) is None


def test_stage_without_stored_bulk_columns_has_no_file_of_them():
    assert [bulk_schema(stage) for stage in (READ, UPPER, TWINS, BEST, PACK)] == [None] * 5
