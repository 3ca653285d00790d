"""Pairs that differ inside of a region: masks, the soft ring, and the photograph as source."""

import numpy as np
import pytest
from _inputs import encoded, make_image, table
from _plain_pairs import Loader
from PIL import Image

from core.errors import ManifestError
from core.settings import checked
from pipeline.context import Context
from samples.columns import PARENT_ID, REJECT_REASON, SAMPLE_ID
from samples.stored_images import mask_array, mask_image, mask_png, rgb_image
from stages.candidates.stage import WaveSpeed
from stages.synthesise_region import SynthesiseRegion, soft_mask_png

SIZE = (40, 32)
IDS = [f"{n:016x}-e1" for n in range(3)]
PHOTOS = [encoded(make_image(n, SIZE), "JPEG", quality=95) for n in range(3)]
SETTINGS = {
    "model": "zoo:sd", "encoder": "zoo:clip", "preset": None, "keep": 3, "max_candidates": 8, "ring_share": 0.5,
    "bounds": {"pair_l1": {"min": 0.02}},
}  # fmt: skip


def box(left, upper, right, lower):
    mask_HW = np.zeros(SIZE[::-1], bool)
    mask_HW[upper:lower, left:right] = True
    return mask_HW


WHOLE = box(0, 0, *SIZE)
REGIONS = [box(8, 8, 30, 24), box(4, 4, 24, 30), WHOLE]
CORES = [box(12, 10, 26, 22), box(4, 4, 24, 30), WHOLE]
"""The first region has a ring, the second has none, the third is the whole image."""


def photos(*numbers):
    numbers = numbers or range(3)
    return table(
        [IDS[n] for n in numbers], source_images=[[PHOTOS[n]] for n in numbers], source_format=["jpg"] * len(numbers),
        source_caption=["a red car" for _ in numbers], target_caption=["a blue car" for _ in numbers],
        region_mask_png=[mask_png(REGIONS[n]) for n in numbers], core_mask_png=[mask_png(CORES[n]) for n in numbers],
    )  # fmt: skip


def synthesised(rows=None, loader=None, **settings):
    ctx = Context(stage_name="synthesise_region", seed=1, loader=loader or Loader())
    stage = checked(SynthesiseRegion, SETTINGS | settings, "synthesise_region")
    return stage.open(ctx)(photos() if rows is None else rows)


def kept(table, parent=None):
    rows = [row for row in table.to_pylist() if row[REJECT_REASON] is None]
    assert {row[PARENT_ID] for row in rows} == set(IDS)
    return [row for row in rows if parent in (None, row[PARENT_ID])]


def test_the_model_gets_region_and_core_and_no_core_without_a_ring():
    loader = Loader()
    synthesised(loader=loader)
    first, second, third = loader.synthesizer.requests
    assert (first.region == REGIONS[0]).all()
    assert (first.core == CORES[0]).all()
    assert (second.region == REGIONS[1]).all()
    assert third.region.all()
    assert second.core is third.core is None


def test_outside_of_the_region_the_pair_is_scored_apart():
    for row in kept(synthesised()):
        if row[PARENT_ID] == IDS[2]:
            assert (row["outside_l1"], row["outside_ssim"]) == (None, None)
        else:
            assert row["outside_l1"] == 0
            assert row["outside_ssim"] == pytest.approx(1)
            assert row["pair_ssim"] < 1


def test_a_bound_on_what_is_outside_may_spare_the_whole_image():
    bound = {"min": 0.9}
    found = synthesised(bounds={"outside_ssim": bound})
    assert {row[PARENT_ID] for row in found.to_pylist() if row[REJECT_REASON] is None} == set(IDS[:2])
    assert len(kept(synthesised(bounds={"outside_ssim": bound | {"may_be_missing": True}}))) == 9


def test_the_soft_mask_holds_the_value_of_the_ring():
    rings = set()
    for row in kept(synthesised(), IDS[0]):
        soft = np.asarray(mask_image(row["soft_mask_png"]))
        ring = row["soft_ring_frac"]
        rings.add(ring)
        assert (soft[CORES[0]] == 255).all()
        assert (soft[~REGIONS[0]] == 0).all()
        assert (soft[REGIONS[0] & ~CORES[0]] == (255 if ring is None else round(255 * ring))).all()
    assert None in rings
    assert len(rings) > 1


def test_as_released_a_ring_without_a_value_is_left_as_it_is():
    rows = kept(synthesised(as_released=True, ring_share=0.0), IDS[0])
    assert {row["soft_ring_frac"] for row in rows} == {None}
    assert all((mask_array(row["soft_mask_png"]) == CORES[0]).all() for row in rows)


def test_a_region_without_a_ring_has_no_value_of_it():
    for row in kept(synthesised(ring_share=1.0)):
        if row[PARENT_ID] == IDS[0]:
            assert row["soft_ring_frac"] is not None
        else:
            assert row["soft_ring_frac"] is None
            assert (mask_array(row["soft_mask_png"]) == REGIONS[IDS.index(row[PARENT_ID])]).all()


def test_candidates_name_the_value_of_the_ring():
    first, *_ = kept(synthesised(ring_share=1.0), IDS[0])
    assert {one["ring_frac"] for one in first["candidates"]} <= {
        np.float32(one) for one in (0, 0.1, 0.3, 0.5, 0.7, 0.8)
    }


@pytest.mark.parametrize("image_format", ["png", "jpg"])
def test_the_photograph_as_source_is_stored_as_it_is(image_format):
    loader = Loader()
    rows = kept(synthesised(loader=loader, source="photograph", format=image_format))
    assert loader.synthesizer.settings["source"] == "photograph"
    for row in rows:
        photo = PHOTOS[IDS.index(row[PARENT_ID])]
        assert row["source_images"] == [photo]
        assert (row["source_format"], row["target_format"]) == ("jpg", image_format)
        assert row["anchor_id"] == row[PARENT_ID][:16]
        difference = np.abs(
            np.asarray(rgb_image(photo), float) - np.asarray(rgb_image(row["target_image"]), float)
        ).mean()
        assert row["pair_l1"] == pytest.approx(difference / 255, abs=1e-5)


def test_a_photograph_that_many_pairs_share_is_encoded_once_a_wave():
    loader = Loader()
    found = synthesised(photos(0), loader, source="photograph", bounds={"pair_l1": {"max": 1.0}}, keep=5)
    assert found.num_rows == 5
    assert loader.encoder.num_images == 1 + sum(loader.synthesizer.calls)


def test_rows_do_not_depend_on_the_wave():
    assert synthesised(speed=WaveSpeed(pairs_per_wave=2)).equals(synthesised())


def test_rows_do_not_depend_on_the_other_rows():
    alone = [row for n in range(3) for row in synthesised(photos(n)).to_pylist()]
    assert alone == synthesised().to_pylist()


def test_the_defaults_are_those_of_the_released_script():
    stage = SynthesiseRegion(model="zoo:sd", encoder="zoo:clip", image_encoder="zoo:dino")
    assert (stage.num_steps, stage.strength, stage.attention_frac) == ((10, 14), 0.3, (0.1, 0.9))
    assert (stage.keep, stage.max_candidates, stage.preset) == (3, 100, "ultraedit-region")
    assert stage.ring_values == (0, 0.1, 0.3, 0.5, 0.7, 0.8)
    assert stage.ring_share == 0.5


def test_settings_of_the_model_reach_it():
    loader = Loader()
    synthesised(loader=loader, blend_steps="every", blends_last=False, keeps_outside=False)
    assert loader.synthesizer.settings == {
        "shares_noise": True, "as_released": False, "source": "drawn", "blend_steps": "every", "blends_last": False,
        "keeps_outside": False,
    }  # fmt: skip


def test_the_soft_mask_is_a_grey_png():
    soft = mask_image(soft_mask_png(REGIONS[0], CORES[0], 0.5))
    assert soft.size == SIZE
    assert Image.fromarray(np.asarray(soft)).getextrema() == (0, 255)
    assert np.unique(np.asarray(soft)).tolist() == [0, 128, 255]


def test_children_are_named_after_parent_and_candidate():
    for row in kept(synthesised()):
        assert row[SAMPLE_ID] == f"{row[PARENT_ID]}-c{row['candidate_number']}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"as_released": True, "source": "photograph"}, "as_released draws both images: it cannot be asked for with"),
        ({"ring_values": (0.5, 1.5)}, "ring_values: expected numbers from 0 to 1"),
        ({"ring_share": -0.1}, "ring_share: "),
        ({"preset": "ultraedit-region"}, "a bound on pair_dino_cos needs image_encoder"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ManifestError) as caught:
        checked(SynthesiseRegion, SETTINGS | settings, "synthesise_region", ManifestError)
    assert message in str(caught.value)
