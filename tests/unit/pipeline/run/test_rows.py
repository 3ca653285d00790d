import pytest
from _fakes import Best, Join, Pixels, ReadLines, Twins, Upper, Words, id_of, plan_of, run, shard_rows

from pipeline.run.rows import ShardRows
from pipeline.run.worker import Worker
from pipeline.store.storage import Storage
from samples.columns import PARENT_ID, SAMPLE_ID

LINES = ["one", "unusable two", "three drop", "four", "one", "five lonely", "six single", "seven"]


@pytest.mark.parametrize("rows_per_batch", [1, 2, 3, 100])
def test_columns_of_several_stages_stay_aligned_after_rejects_and_expand(tmp_path, rows_per_batch):
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


def test_rows_left_are_those_of_the_stage_before_and_of_global_verdicts(tmp_path):
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


def test_shard_without_rows_left_gives_no_batch(tmp_path):
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Pixels()], {"a": ["drop"]})
    assert run(plan).ok
    assert shard_rows(plan, "pixels", "a") == []


def sizes_of(plan, stage, monkeypatch, num_bytes, made=0):
    """Number of rows of each batch of the stage when a batch may have so many bytes."""
    for module in ("store.column_writer", "store.cursor", "run.rows"):
        monkeypatch.setattr(f"pipeline.{module}.BATCH_BYTES", num_bytes)
    storage = Storage(plan.out)
    planned = next(s for s in plan.stages if s.name == stage)
    rows = ShardRows(plan, storage, planned, "a", Worker(plan, storage).read_source)
    sizes, captions = [], []
    for batch in rows.batches(100):
        sizes.append(batch.num_rows)
        captions += batch["caption"].to_pylist() if "caption" in batch.column_names else []
        if made:
            rows.made(batch.num_rows, made * batch.num_rows)
    assert sum(sizes) == len(rows)
    return sizes, captions


def test_batches_have_no_more_bytes_than_allowed(tmp_path, monkeypatch):
    lines = [f"{n} {'x' * (n % 4 * 100)}" for n in range(40)]
    plan = plan_of(tmp_path, [ReadLines(), Upper(), Best()], {"a": lines})
    assert run(plan).ok
    for num_bytes in (1, 400, 1000, 10**9):
        sizes, captions = sizes_of(plan, "upper", monkeypatch, num_bytes)
        assert captions == lines
        heaviest = max(len("".join(lines[sum(sizes[:i]) : sum(sizes[: i + 1])])) for i in range(len(sizes)))
        assert heaviest <= max(num_bytes, 303)
    assert sizes == [40]


def test_input_images_come_a_few_at_a_time(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [ReadLines(), Pixels()], {"a": [str(n) for n in range(40)]})
    assert run(plan).ok
    assert sizes_of(plan, "pixels", monkeypatch, 10**9)[0] == [16, 16, 8]


def test_batches_shrink_to_what_the_stage_makes_of_them(tmp_path, monkeypatch):
    plan = plan_of(tmp_path, [ReadLines(), Upper()], {"a": [str(n) for n in range(250)]})
    assert run(plan).ok
    assert sizes_of(plan, "upper", monkeypatch, 4000, made=100)[0] == [100, 40, 40, 40, 30]
