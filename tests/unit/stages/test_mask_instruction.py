"""Masks and regions from instructions: which text goes to which image, margins, whole and empty regions."""

import numpy as np
import pytest
from _inputs import jpeg, table

from pipeline.context import Context
from samples.stored_images import mask_array
from stages.mask_instruction import MASKS, REGION, MaskInstruction


class LeftShare:
    """Finds an instruction in the left share of the image that its last word names, in percent."""

    def segment_instructions(self, images, instructions):
        self.asked = list(zip([image.size for image in images], instructions, strict=True))
        found = []
        for image, text in zip(images, instructions, strict=True):
            prob = np.full((image.height, image.width), 0.2, np.float32)
            share = int(text.split()[-1]) if text else 100
            prob[:, : image.width * share // 100] = 0.6
            found.append(prob)
        return found


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
    assert all(found[name].null_count == 2 for name in (*REGION, "reject_reason"))


def test_without_targets_only_the_source_is_masked():
    found = masked(table(source_images=[[jpeg(1)]], instruction=["go 25"]))
    assert found["source_mask_frac"].to_pylist() == pytest.approx([0.25])
    assert found["target_mask_png"].null_count == 1


def test_region_has_a_core_and_a_margin():
    found = masked(table(source_images=[[jpeg(1)]], instruction=["go 25"]), fills="region", margin_frac=0.1)
    region, core = (mask_array(found[name][0].as_py()) for name in ("region_mask_png", "core_mask_png"))
    assert core[:, :24].all()
    assert core.mean() == pytest.approx(0.25)
    assert region.mean() == pytest.approx(32 / 96)  # 0.1 of 80 rows more
    assert found["region_frac"].to_pylist() == pytest.approx([32 / 96])
    assert found["is_whole_image"].to_pylist() == [False]
    assert all(found[name].null_count == 1 for name in MASKS)


def test_nearly_whole_region_is_the_whole_image():
    found = masked(table(source_images=[[jpeg(1)]], instruction=["go 95"]), fills="region", whole_frac=0.9)
    assert mask_array(found["region_mask_png"][0].as_py()).all()
    assert mask_array(found["core_mask_png"][0].as_py()).all()
    assert found["is_whole_image"].to_pylist() == [True]


def test_empty_region_is_a_reject_or_the_whole_image():
    rows = table(source_images=[[jpeg(1)], [jpeg(2)]], instruction=["go 0", None])
    found = masked(rows, fills="region")
    assert found["reject_reason"].to_pylist() == ["empty_region"] * 2
    assert found["reject_detail"].to_pylist() == ["nothing above 0.5"] * 2
    found = masked(rows, fills="region", when_empty="whole")
    assert found["reject_reason"].null_count == 2
    assert found["is_whole_image"].to_pylist() == [True, True]


def test_columns_that_are_not_filled_are_declared_empty():
    assert MaskInstruction(model="path:head").writes_empty() == REGION
    assert MaskInstruction(model="path:head", fills="region").writes_empty() == MASKS
