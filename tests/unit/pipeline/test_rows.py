import pytest
from _fakes import Best, Join, Pixels, ReadLines, Twins, Upper, Words, id_of, plan_of, run, shard_rows

from pipeline.schema import PARENT_ID, SAMPLE_ID

LINES = ["one", "unusable two", "three drop", "four", "one", "five lonely", "six single", "seven"]


@pytest.mark.parametrize("rows_per_batch", [1, 2, 3, 100])
def test_columns_of_several_stages_stay_aligned_after_rejects_and_an_expand(tmp_path, rows_per_batch):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Twins(), Join()], {"a": LINES})
    assert run(plan).ok
    rows = shard_rows(plan, "join", "a", rows_per_batch)
    assert [r["instruction"] for r in rows] == [
        "1 one", "2 one", "1 four", "2 four", "1 six single", "1 seven", "2 seven",
    ]  # fmt: skip
    for row in rows:
        line = row["instruction"][2:]
        assert row[SAMPLE_ID] == f"{id_of(line)}-e{row['instruction'][0]}"
        assert row[PARENT_ID] == id_of(line)
        assert row["source_caption"] == line.upper()
        assert row["source_raw"] == line.encode(), "the virtual column is read again and must belong to the same row"


def test_survivors_are_those_of_the_stage_before_and_of_verdicts_on_all_shards(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Words(), Best(), Upper()], {"a": ["one", "worst", "two"], "b": []})
    assert run(plan).ok
    assert [r["caption"] for r in shard_rows(plan, "upper", "a")] == ["one", "two"]
    assert shard_rows(plan, "upper", "b") == []


def test_virtual_column_is_not_stored_and_comes_from_the_input(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(rows_per_table=2), Upper(), Pixels()], {"a": LINES})
    assert run(plan).ok
    assert "source_raw" not in plan.stages[0].stored_columns
    got = [r["source_raw"].decode() for r in shard_rows(plan, "pixels", "a")]
    assert got == ["one", "four", "five lonely", "six single", "seven"]


def test_no_batch_is_handed_out_for_a_shard_without_survivors(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Pixels()], {"a": ["drop"]})
    assert run(plan).ok
    assert shard_rows(plan, "pixels", "a") == []
