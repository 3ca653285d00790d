"""Masks from instructions: which text goes to which image, and rows without target or text."""

import pytest
from _inputs import jpeg, table
from _left_share import LeftShare

from pipeline.context import Context
from samples.stored_images import mask_array
from stages.mask_instruction import MaskInstruction


def masked(rows, model=None, **settings):
    ctx = Context(stage_name="mask_instruction", loader=lambda *_: model or LeftShare())
    return MaskInstruction(model="path:head", **settings).open(ctx)(rows)


def test_each_side_is_masked_by_its_own_instruction():
    rows = table(
        source_images=[[jpeg(1)], [jpeg(2)]], target_image=[jpeg(3), jpeg(4)], instruction=["go 25", "go 50"],
        reverse_instruction=["back 75", None],
    )  # fmt: skip
    model = LeftShare()
    found = masked(rows, model)
    assert [text for _, text in model.asked] == ["go 25", "go 50", "back 75", ""]
    assert found["source_mask_frac"].to_pylist() == pytest.approx([0.25, 0.5])
    assert found["target_mask_frac"].to_pylist() == pytest.approx([0.75, 0])
    assert mask_array(found["source_mask_png"][0].as_py())[:, :24].all()


def test_without_targets_only_the_source_is_masked():
    found = masked(table(source_images=[[jpeg(1)]], instruction=["go 25"]))
    assert found["source_mask_frac"].to_pylist() == pytest.approx([0.25])
    assert found["target_mask_png"].null_count == 1


def test_margin_is_a_share_of_the_shorter_side():
    found = masked(table(source_images=[[jpeg(1)]], instruction=["go 25"]), margin_frac=0.1)
    assert found["source_mask_frac"].to_pylist() == pytest.approx([32 / 96])  # 0.1 of 80 rows more
