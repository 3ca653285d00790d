import random

import pyarrow as pa
import pytest

from stages.report.histograms import MOST_CELLS, CategoryTally, NumericTally, category_counts, numeric_histogram


def test_whole_numbers_get_whole_edges_and_labels():
    histogram = numeric_histogram([3, 4, 4, 9], bins=24, column="caption_num_words", unit="words")
    assert histogram.edges == (3, 4, 5, 6, 7, 8, 9, 10)
    assert histogram.labels == ("3", "4", "5", "6", "7", "8", "9")
    assert histogram.counts == (1, 2, 0, 0, 0, 0, 1)
    assert (histogram.column, histogram.unit) == ("caption_num_words", "words")


def test_wide_whole_numbers_share_bars_named_by_first_and_last_value():
    histogram = numeric_histogram(range(1000, 2000), bins=10)
    assert histogram.edges == tuple(range(1000, 2001, 100))
    assert histogram.labels[0] == "1,000 to 1,099"
    assert histogram.counts == (100,) * 10


def test_value_on_an_edge_falls_into_the_bar_above_it():
    histogram = numeric_histogram([0.1, 0.2, 0.29, 0.3, 0.6, 0.7], bins=24)
    for value in (0.1, 0.2, 0.29, 0.3, 0.6, 0.7):
        place = histogram.edges.index(value) if value in histogram.edges else None
        assert place is None or histogram.counts[place] > 0
    assert 0.3 in histogram.edges
    assert histogram.counts[histogram.edges.index(0.3)] == 1


@pytest.mark.parametrize("spread", [1, 300, 10**7])
@pytest.mark.parametrize("is_whole", [True, False])
def test_result_is_the_same_for_any_order_and_any_batches(spread, is_whole):
    rng = random.Random(7)
    values = [rng.uniform(-spread, spread) for _ in range(3 * MOST_CELLS)]
    if is_whole:
        values = [round(value) for value in values]
    whole = numeric_histogram(values, 20)
    rng.shuffle(values)
    tally = NumericTally(column="", unit="", bins=20)
    for start in range(0, len(values), 7001):
        tally.add(values[start : start + 7001])
    assert tally.histogram() == whole
    assert sum(whole.counts) == len(values)
    assert len(whole.counts) <= 20
    assert len(whole.edges) == len(whole.counts) + 1
    assert list(whole.edges) == sorted(set(whole.edges))


def test_counts_agree_with_numpy_on_the_same_edges():
    np = pytest.importorskip("numpy")
    values = np.random.default_rng(0).normal(0.27, 0.05, 5000).round(3)
    histogram = numeric_histogram(values.tolist(), 30)
    # numpy compares with rounded edges, so both sides are moved off them
    edges = np.array(histogram.edges) - 1e-9
    assert histogram.counts == tuple(np.histogram(values, edges)[0].tolist())


def test_missing_and_infinite_values_are_counted_apart():
    histogram = numeric_histogram(pa.array([1.5, None, float("nan"), float("inf"), 1e300]))
    assert histogram.num_missing == 4
    assert sum(histogram.counts) == 1


def test_chunked_arrow_columns_are_accepted():
    column = pa.chunked_array([pa.array([1, None], pa.int32()), pa.array([2], pa.int32())])
    histogram = numeric_histogram(column)
    assert (histogram.counts, histogram.num_missing) == ((1, 1), 1)


def test_column_without_values_has_no_bars():
    assert numeric_histogram([]).counts == ()
    assert numeric_histogram([None, None]).num_missing == 2
    assert category_counts([]).counts == ()


def test_memory_is_bounded_by_cells():
    tally = NumericTally(column="", unit="", bins=10)
    tally.add([i * 1.37 for i in range(5 * MOST_CELLS)])
    assert len(tally._cells) <= MOST_CELLS


def test_categories_are_ranked_and_ties_are_alphabetical():
    tally = CategoryTally(column="edit_type", unit="", most=2)
    tally.add(["b", "a", None])
    tally.add(pa.array(["c", "c", "", None]))
    histogram = tally.histogram()
    assert histogram.labels == ("c", "")
    assert histogram.counts == (2, 1)
    assert (histogram.num_other, histogram.num_missing) == (2, 2)
    assert histogram.edges == ()


def test_booleans_and_numbers_count_under_their_text():
    assert category_counts([True, False, True]).labels == ("true", "false")
    assert category_counts([2, 2, 1]).labels == ("2", "1")


def test_too_few_bars_are_refused():
    with pytest.raises(ValueError, match="bins is 1: expected 2 or more"):
        numeric_histogram([1], bins=1)
    with pytest.raises(ValueError, match="most is 0: expected 1 or more"):
        category_counts(["a"], most=0)
