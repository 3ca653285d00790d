"""The rule that says which columns are about a target image, over all stages of the catalogue."""

import pytest

from pipeline.plan.plugins import stage_class, stage_names
from samples.columns import COLUMNS
from stages.editing.former_targets import FURTHER, KEPT, is_about_target

STARTS_A_NEW_PAIR = "chain_edits"
READERS = [
    name
    for name in stage_names()
    if "target_image" in (*stage_class(name).reads, *stage_class(name).reads_if_present)
    and stage_class(name).kind != "sink"
    and name != STARTS_A_NEW_PAIR
]


@pytest.mark.parametrize("name", READERS)
def test_what_a_stage_finds_on_a_target_is_about_that_target(name):
    assert [one for one in stage_class(name).writes if not (is_about_target(one) or one.startswith("source_"))] == []


def test_there_are_stages_that_look_at_targets():
    assert {"score_edit", "judge_edit", "encode_latents", "mask_selective_area"} <= set(READERS)


@pytest.mark.parametrize("name", ["target_caption", "instruction", "source_mask_png", "region_mask_png", "split"])
def test_texts_and_the_source_do_not_depend_on_the_target(name):
    assert not is_about_target(name)


def test_exceptions_are_declared_columns():
    assert set(COLUMNS) >= FURTHER | KEPT
