"""Bounds and how often a target may be used."""

import pyarrow as pa
import pytest
from _fakes import entry, manifest_of
from _inputs import table
from pydantic import ValidationError

from core.errors import PlanError
from pipeline.plan.plan import plan_stages
from pipeline.stage import Context
from samples.columns import REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.count_words import CountWords
from stages.read_webdataset import ReadWebdataset
from stages.select import Select

COLUMNS = {
    "source_mask_frac": [0.2, 0.005, 0.2, 0.2],
    "target_mask_frac": [0.2, 0.2, 0.95, 0.2],
    "target_caption_cos": [0.3, 0.3, 0.3, 0.1],
    "target_id": ["t", "t", "t", "t"],
}


def verdicts(columns, **settings):
    ids = [f"s{n}" for n in range(len(next(iter(columns.values()))))]
    stage = Select(**settings)
    both = table(ids, **columns)
    shards = {"a": both.slice(0, 2), "b": both.slice(2)}
    found = dict(stage.open(Context(stage_name="select"))(shards.items))
    assert list(found) == ["a", "b"]
    rows = pa.concat_tables(found.values()).to_pylist()
    assert [row[SAMPLE_ID] for row in rows] == ids
    return {row[SAMPLE_ID]: (row[REJECT_REASON], row[REJECT_DETAIL]) for row in rows}


def test_without_settings_everything_passes_and_no_column_is_needed():
    assert set(verdicts(COLUMNS).values()) == {(None, None)}
    assert Select().needs_columns() == ()


def test_each_bound_names_the_column_and_its_value():
    found = verdicts(COLUMNS, min_mask_frac=0.01, max_mask_frac=0.9, min_target_caption_cos=0.2)
    assert found["s0"] == (None, None)
    assert found["s1"] == ("mask_too_small", "source_mask_frac 0.0050, bound 0.01")
    assert found["s2"] == ("mask_too_large", "target_mask_frac 0.9500, bound 0.9")
    assert found["s3"] == ("low_target_caption_cos", "target_caption_cos 0.1000, bound 0.2")


def test_a_value_on_the_bound_passes_and_no_number_does_not():
    found = verdicts({"pair_image_cos": [0.5, 0.49, float("nan")]}, min_image_cos=0.5)
    assert [reason for reason, _ in found.values()] == [None, "low_pair_image_cos", "low_pair_image_cos"]


def test_a_target_keeps_its_best_pairs_across_shards_and_ties_go_by_id():
    columns = {"target_id": ["t", "t", "u", "t"], "target_caption_cos": [0.3, 0.4, 0.1, 0.4]}
    found = verdicts(columns, max_pairs_per_target=1)
    assert [reason for reason, _ in found.values()] == ["target_overused", None, None, "target_overused"]
    assert found["s3"][1] == "more than 1 pairs with t"


def test_a_pair_out_of_bounds_takes_no_place_of_its_target():
    columns = {"target_id": ["t", "t"], "target_caption_cos": [0.9, 0.5], "pair_image_cos": [0.0, 1.0]}
    found = verdicts(columns, max_pairs_per_target=1, min_image_cos=0.5)
    assert [reason for reason, _ in found.values()] == ["low_pair_image_cos", None]


def test_a_bound_on_a_column_that_nobody_wrote_stops_the_plan():
    chain = [entry(ReadWebdataset()), entry(CountWords()), entry(Select(min_mask_frac=0.1))]
    with pytest.raises(
        PlanError, match="stage select reads column 'source_mask_frac', which no stage before it writes"
    ):
        plan_stages(manifest_of(*chain))


def test_bounds_that_no_value_can_have_are_refused():
    with pytest.raises(ValidationError):
        Select(min_mask_frac=1.5)
