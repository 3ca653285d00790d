"""Regions from instructions: core and margin, whole images and empty regions."""

import pytest
from _inputs import jpeg, table
from _left_share import LeftShare

from pipeline.context import Context
from samples.stored_images import mask_array
from stages.predict_region import PredictRegion


def predicted(rows, **settings):
    ctx = Context(stage_name="predict_region", loader=lambda *_: LeftShare())
    return PredictRegion(model="path:head", **settings).open(ctx)(rows)


def test_region_has_a_core_and_a_margin():
    found = predicted(table(source_images=[[jpeg(1)]], instruction=["go 25"]), margin_frac=0.1)
    region, core = (mask_array(found[name][0].as_py()) for name in ("region_mask_png", "core_mask_png"))
    assert core[:, :24].all()
    assert core.mean() == pytest.approx(0.25)
    assert region.mean() == pytest.approx(32 / 96)  # 0.1 of 80 rows more
    assert found["region_frac"].to_pylist() == pytest.approx([32 / 96])
    assert found["is_whole_image"].to_pylist() == [False]


def test_nearly_whole_region_is_the_whole_image():
    found = predicted(table(source_images=[[jpeg(1)]], instruction=["go 95"]), whole_frac=0.9)
    assert mask_array(found["region_mask_png"][0].as_py()).all()
    assert mask_array(found["core_mask_png"][0].as_py()).all()
    assert found["is_whole_image"].to_pylist() == [True]


def test_empty_region_is_a_reject_or_the_whole_image():
    rows = table(source_images=[[jpeg(1)], [jpeg(2)]], instruction=["go 0", None])
    found = predicted(rows)
    assert found["reject_reason"].to_pylist() == ["empty_region"] * 2
    assert found["reject_detail"].to_pylist() == ["nothing on the image is likely enough"] * 2
    found = predicted(rows, when_empty="whole")
    assert found["reject_reason"].null_count == 2
    assert found["is_whole_image"].to_pylist() == [True, True]
