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


def stored(tally):
    """The tally's counts as they come back from a file."""
    return type(tally.counts()).model_validate_json(tally.counts().model_dump_json())


def drawn_values(rng):
    """Values of one column, in parts: of one scale or of several, whole or not, with and without gaps."""
    scale = 10.0 ** rng.randint(-4, 14)
    digits = rng.choice([None, 0, 1, 3])
    parts = []
    for _ in range(rng.randint(1, 6)):
        centre, spread = rng.uniform(-scale, scale), scale * 10 ** rng.uniform(-6, 0.5)
        values = [rng.gauss(centre, spread) for _ in range(rng.choice([0, 1, 2, 50, 500]))]
        if digits is not None and rng.random() < 0.8:
            values = [round(v, digits) for v in values]
        parts.append([*values, *rng.choices([None, float("nan"), 1e300, 0.0, -0.0, 7], k=rng.randint(0, 2))])
    return parts


@pytest.mark.parametrize("seed", range(300))
def test_merged_counts_of_parts_give_the_histogram_of_all_values(seed):
    rng = random.Random(seed)
    parts, bins = drawn_values(rng), rng.choice([2, 3, 10, 24, 40])
    merged = NumericTally(column="c", unit="u", bins=bins)
    for part in parts:
        tally = NumericTally(column="c", unit="u", bins=bins)
        tally.add(part)
        merged.merge(stored(tally))
    assert merged.histogram() == numeric_histogram([v for part in parts for v in part], bins, column="c", unit="u")


def test_whole_numbers_and_fractions_of_other_parts_are_merged():
    whole, fractions, merged = (NumericTally(column="", unit="") for _ in range(3))
    whole.add([3, 4, 4, 5])
    fractions.add([3.5, 4.25])
    for part in (whole, fractions):
        merged.merge(stored(part))
    assert merged.histogram() == numeric_histogram([3, 4, 4, 5, 3.5, 4.25])
    assert not merged.histogram().labels[0].isdigit()


def test_merged_counts_can_be_stored_and_merged_again():
    rng = random.Random(1)
    values = [rng.gauss(0, 3) for _ in range(4000)]
    level = []
    for start in range(0, 4000, 500):
        level.append(NumericTally(column="", unit=""))
        level[-1].add(values[start : start + 500])
    while len(level) > 1:
        pairs, level = zip(level[::2], level[1::2], strict=True), []
        for pair in pairs:
            level.append(NumericTally(column="", unit=""))
            for one in pair:
                level[-1].merge(stored(one))
    assert level[0].histogram() == numeric_histogram(values)


@pytest.mark.parametrize("spread", [1e-3, 1, 1e6, 1e15])
def test_stored_counts_are_a_few_for_each_bar(spread):
    rng = random.Random(2)
    tally = NumericTally(column="", unit="")
    tally.add([rng.uniform(-spread, spread) for _ in range(5000)])
    assert len(tally.counts().counts) <= 24 * 5 + 5


def test_merged_categories_are_those_of_all_values():
    values = ["b", "a", None, "c", "c", "", None, "</script>"]
    merged = CategoryTally(column="", unit="", most=3)
    for part in (values[:3], values[3:4], [], values[4:]):
        tally = CategoryTally(column="", unit="", most=3)
        tally.add(pa.array(part, pa.string()))
        merged.merge(stored(tally))
    assert merged.histogram() == category_counts(values, 3)
