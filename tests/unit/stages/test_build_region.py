"""The region of an edit: its shapes by the number of contours, its gates, and edits of the whole image."""

import numpy as np
import pytest
from _inputs import apply, table
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from samples.columns import REJECT_DETAIL, REJECT_REASON
from samples.stored_images import mask_array, mask_png
from stages.build_region import MASKS, BuildRegion

SIDE = 64
BOX = [8.0, 8.0, 40.0, 48.0]


def disc(x, y, radius_px):
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius_px**2


RING = disc(24, 28, 12) & ~disc(24, 28, 6)


def built(masks, boxes=(BOX,), **choices):
    """The row of an edit of one thing, its masks as arrays."""
    rows = table(
        edit_objects=[["thing"]], object_boxes=[list(boxes)], object_masks_png=[[mask_png(mask) for mask in masks]],
        width_px=[SIDE], height_px=[SIDE],
    )  # fmt: skip
    (row,) = apply(BuildRegion(**choices), rows)
    return row | {name: row[name] and mask_array(row[name]) for name in MASKS}


def dots(count):
    """A grid of dots of four pixels, `count` of them."""
    mask = np.zeros((SIDE, SIDE), bool)
    for number in range(count):
        y, x = divmod(number, 20)
        mask[3 * y : 3 * y + 2, 3 * x : 3 * x + 2] = True
    return mask


def test_few_contours_give_the_mask_as_core_and_its_hull_as_region():
    row = built([RING])
    assert (row["core_mask_png"] == RING).all()
    assert (row["fine_mask_png"] == RING).all()
    assert (row["region_mask_png"] == disc(24, 28, 12)).all()
    assert (row["hull_mask_png"] == disc(24, 28, 12)).all()
    assert row["box_mask_png"].sum() == 32 * 40
    assert (row["region_num_contours"], row["is_whole_image"], row[REJECT_REASON]) == (1, False, None)
    assert row["region_frac"] == pytest.approx(disc(24, 28, 12).mean())


def test_many_contours_give_hulls_as_core_and_boxes_as_region():
    corners = dots(10)
    row = built([corners], [[0, 0, 64, 8]], many_contours=10, min_speck_frac=0)
    assert (row["core_mask_png"] == row["hull_mask_png"]).all()
    assert (row["region_mask_png"] == row["box_mask_png"] | row["core_mask_png"]).all()
    assert built([corners], many_contours=11, min_speck_frac=0)["core_mask_png"].sum() == 40


@pytest.mark.parametrize("shape", ["fine", "hull", "box"])
def test_the_region_is_the_shape_that_is_asked_for(shape):
    row = built([RING], region=shape, core="fine")
    assert (row["region_mask_png"] == row[f"{shape}_mask_png"] | RING).all()
    assert (row["core_mask_png"] == RING).all()


def test_a_core_wider_than_the_region_widens_it():
    row = built([RING], region="fine", core="hull")
    assert (row["region_mask_png"] == disc(24, 28, 12)).all()


def test_a_margin_is_around_the_region_alone():
    row = built([disc(24, 28, 12)], margin_frac=3 / SIDE)
    assert (row["region_mask_png"] >= disc(24, 28, 14)).all()
    assert (row["region_mask_png"] <= disc(24, 28, 16)).all()
    assert (row["core_mask_png"] == disc(24, 28, 12)).all()


def test_specks_have_no_part_in_the_region():
    speck = np.zeros((SIDE, SIDE), bool)
    speck[60, 60:62] = True
    clean = built([RING])
    row = built([RING | speck], min_speck_frac=3 / SIDE**2)
    assert all((row[name] == clean[name]).all() for name in MASKS)
    assert built([RING | speck], min_speck_frac=2 / SIDE**2)["region_num_contours"] == 2


def test_masks_of_several_things_are_joined():
    row = built([disc(16, 16, 8), disc(46, 46, 8)], [BOX, [38, 38, 54, 54]])
    assert row["region_num_contours"] == 2
    assert (row["region_mask_png"] == disc(16, 16, 8) | disc(46, 46, 8)).all()


def test_an_edit_without_things_has_the_whole_image():
    rows = table(
        edit_objects=[[], None], object_boxes=[[], None], object_masks_png=[[], None], width_px=[6, 4],
        height_px=[5, 3],
    )  # fmt: skip
    for row, shape in zip(apply(BuildRegion(), rows), [(5, 6), (3, 4)], strict=True):
        for name in ("region_mask_png", "core_mask_png"):
            mask = mask_array(row[name])
            assert mask.all()
            assert mask.shape == shape
        assert (row["region_frac"], row["region_num_contours"], row["is_whole_image"]) == (1.0, 0, True)
        assert row["fine_mask_png"] is row[REJECT_REASON] is None


@pytest.mark.parametrize(
    ("mask", "choices", "reason", "detail"),
    [
        (disc(5, 5, 0), {}, "too_few_contours", "0 contours, fewer than 1"),
        (RING, {"min_contours": 4}, "too_few_contours", "1 contours, fewer than 4"),
        (dots(30), {"max_contours": 29, "min_speck_frac": 0}, "too_many_contours", "30 contours, more than 29"),
        (disc(20, 20, 3), {}, "region_too_small", "0.0071 of the image, less than 0.01"),
        (disc(32, 32, 40), {}, "region_too_large", "0.9724 of the image, more than 0.9"),
    ],
)
def test_a_region_outside_of_a_gate_is_dropped(mask, choices, reason, detail):
    row = built([mask], **{"min_speck_frac": 2 / SIDE**2, **choices})
    assert row[REJECT_REASON] == reason
    assert row[REJECT_DETAIL] == detail
    assert row["fine_mask_png"] is not None


def test_a_thing_of_one_clean_part_stays_with_four_contours_it_goes():
    """Released code demands four contours and so drops the best masks."""
    assert built([disc(24, 28, 12)])[REJECT_REASON] is None
    assert built([disc(24, 28, 12)], min_contours=4)[REJECT_REASON] == "too_few_contours"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_region_holds_the_core_whatever_is_chosen(data):
    draw = data.draw
    stage = BuildRegion(
        region=draw(st.sampled_from(["by_contours", "fine", "hull", "box"])),
        core=draw(st.sampled_from(["by_contours", "fine", "hull"])),
        many_contours=draw(st.sampled_from([1, 3, 150])),
        margin_frac=draw(st.sampled_from([0, 0.05])),
    )
    mask = np.random.default_rng(draw(st.integers(0, 99))).random((SIDE, SIDE)) > draw(st.floats(0.5, 1))
    made = stage.make([mask], [BOX], (SIDE, SIDE))
    assert made.region[made.core].all()
    assert made.core[made.fine].all()
    assert made.hull[made.fine].all()


def test_gates_that_nothing_passes_are_refused():
    with pytest.raises(ValidationError, match=r"min_frac 0\.6 is more than max_frac 0\.5"):
        BuildRegion(min_frac=0.6, max_frac=0.5)
    with pytest.raises(ValidationError, match="min_contours 5 is more than max_contours 4"):
        BuildRegion(min_contours=5, max_contours=4)
