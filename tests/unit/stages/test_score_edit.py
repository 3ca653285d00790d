"""All scores of a pair in one stage: those of `score_pair`, of an image encoder, and of pixels."""

import numpy as np
import pytest
from _inputs import encoded, make_image, table
from _plain_pairs import ColourEncoder, mean_colour, unit_rows

from pipeline.context import Context
from samples.stored_images import mask_png, rgb_image
from stages.pair_scores.pixels import l1_scores, pixels_of, ssim_scores
from stages.score_edit import ScoreEdit
from stages.score_pair import ScorePair

SIZE = (32, 24)
IMAGES = [encoded(make_image(n, SIZE), "PNG") for n in range(6)]
PIXEL_SCORES = ("pair_ssim", "pair_l1", "outside_ssim", "outside_l1")


def region(left, right):
    mask_HW = np.zeros(SIZE[::-1], bool)
    mask_HW[:, left:right] = True
    return mask_HW


REGIONS = [region(2, 12), None, region(0, 32)]


def pairs(**more):
    return table(
        source_images=[[one] for one in IMAGES[:3]], target_image=IMAGES[3:], source_caption=["a", "a cat", None],
        target_caption=["a dog", "a cat", "b"], **more,
    )  # fmt: skip


def scores(rows, **settings):
    ctx = Context(stage_name="score_edit", loader=lambda *_: ColourEncoder())
    return ScoreEdit(encoder="zoo:clip", **settings).open(ctx)(rows).select(ScoreEdit.writes).to_pylist()


def test_scores_of_captions_are_those_of_score_pair():
    ctx = Context(stage_name="score_pair", loader=lambda *_: ColourEncoder())
    theirs = ScorePair(model="zoo:clip").open(ctx)(pairs()).select(ScorePair.writes).to_pylist()
    assert [{name: row[name] for name in ScorePair.writes} for row in scores(pairs())][:2] == theirs[:2]


def test_pair_without_a_caption_has_no_score_of_it():
    captions = {"source_caption": [None, "a cat", None], "target_caption": ["a dog", None, None]}
    rows = table(source_images=[[one] for one in IMAGES[:3]], target_image=IMAGES[3:], **captions)
    lacking = [
        {name for name in ScorePair.writes if row[name] is None}
        for row in scores(rows)
    ]  # fmt: skip
    both = {"target_margin_cos", "pair_direction_cos"}
    assert lacking == [both | {"source_caption_cos"}, both | {"target_caption_cos"},
                       both | {"source_caption_cos", "target_caption_cos"}]  # fmt: skip
    assert None not in [row[name] for row in scores(rows) for name in ("pair_image_cos", "pair_l1", "pair_ssim")]


def test_the_image_encoder_compares_the_two_images():
    found = scores(pairs(), image_encoder="zoo:dino")
    for row, (source, target) in zip(found, zip(IMAGES[:3], IMAGES[3:], strict=True), strict=True):
        one, other = unit_rows([mean_colour(rgb_image(source)), mean_colour(rgb_image(target))])
        assert row["pair_dino_cos"] == pytest.approx(one @ other, abs=1e-5)


def test_without_an_image_encoder_its_score_has_no_value():
    assert [row["pair_dino_cos"] for row in scores(pairs())] == [None] * 3


def test_scores_of_pixels_are_of_the_whole_and_of_what_is_outside():
    found = scores(pairs(region_mask_png=[None if one is None else mask_png(one) for one in REGIONS]))
    for row, source, target, mask in zip(found, IMAGES[:3], IMAGES[3:], REGIONS, strict=True):
        both = pixels_of(rgb_image(source)), pixels_of(rgb_image(target))
        expected = (ssim_scores(*both, mask), l1_scores(*both, mask))
        assert (row["pair_ssim"], row["pair_l1"]) == pytest.approx([one[0] for one in expected], abs=1e-5)
        assert (row["outside_ssim"], row["outside_l1"]) == pytest.approx([one[1] for one in expected], abs=1e-5)
    assert found[0]["outside_l1"] is not None
    assert [row["outside_l1"] for row in found[1:]] == [None, None]


def test_images_of_two_sizes_have_no_scores_of_pixels():
    rows = table(
        source_images=[[IMAGES[0]]], target_image=[encoded(make_image(1, (20, 20)), "PNG")], source_caption=["a"],
        target_caption=["b"],
    )  # fmt: skip
    (row,) = scores(rows)
    assert [row[name] for name in PIXEL_SCORES] == [None] * 4
    assert row["pair_image_cos"] is not None


def test_a_region_of_another_size_is_left_out():
    (row, *_) = scores(pairs(region_mask_png=[mask_png(np.zeros((5, 5), bool))] * 3))
    assert row["outside_l1"] is None
    assert row["pair_l1"] is not None
