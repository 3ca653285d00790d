import random

import pyarrow as pa
import pytest

from samples.columns import COLUMNS
from stages.report.tallies import ROWS_PER_COUNT, ShardCounts, Tallies

NAMES = ["caption", "width_px", "source_dhash", "edit_type", "pair_ssim", "source_format", "example_source_formats"]


def rows_of(number, seed=0):
    rng = random.Random(seed)
    columns = {
        "caption": rng.choices(["a", "b"], k=number),
        "width_px": [rng.randrange(5000) for _ in range(number)],
        "source_dhash": [rng.randrange(2**63) for _ in range(number)],
        "edit_type": rng.choices(["add", "swap", "</script>", None], k=number),
        "pair_ssim": rng.choices([0.25, 0.5, None, float("nan")], k=number),
        "source_format": rng.choices(["jpg", "png"], k=number),
        "example_source_formats": rng.choices([["jpg", "webp"], [], None], k=number),
    }
    return pa.table({name: pa.array(values, COLUMNS[name].type) for name, values in columns.items()})


def tallied(*tables):
    tallies = Tallies(NAMES)
    for table in tables:
        tallies.add(table)
    return tallies


def test_counts_of_shards_merge_to_those_of_all_rows():
    rows = rows_of(900)
    merged = Tallies(NAMES)
    for start, stop in ((0, 1), (1, 400), (400, 400), (400, 900)):
        text = tallied(rows.slice(start, stop - start)).counts().model_dump_json()
        merged.merge(ShardCounts.model_validate_json(text))
    whole = tallied(rows)
    assert list(merged.histograms()) == list(whole.histograms())
    for name in ("source_format", "example_source_formats"):
        assert merged.formats(name) == whole.formats(name)


@pytest.mark.parametrize("size", [1, 700, ROWS_PER_COUNT + 1])
def test_stored_counts_do_not_depend_on_batches(size):
    rows = rows_of(ROWS_PER_COUNT + 1000)
    batches = (rows.slice(start, size) for start in range(0, rows.num_rows, size))
    assert tallied(*batches).counts().model_dump_json() == tallied(rows).counts().model_dump_json()


def test_histograms_are_in_the_order_of_the_columns():
    found = [histogram.column for histogram in tallied(rows_of(5)).histograms()]
    assert found == ["width_px", "edit_type", "pair_ssim"]


def test_formats_of_lists_and_single_values_are_known():
    tallies = tallied(rows_of(200))
    assert tallies.formats("source_format") == ["jpg", "png"]
    assert tallies.formats("example_source_formats") == ["jpg", "webp"]
    assert tallies.formats("target_format") == []


def test_columns_without_rows_have_empty_histograms():
    assert [h.counts for h in Tallies(NAMES).histograms()] == [(), (), ()]
