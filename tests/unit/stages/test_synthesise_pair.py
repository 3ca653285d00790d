"""Pairs over photographs: the rows that come of a search, and what the columns say."""

import io
import pickle

import imagehash
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from _inputs import encoded, table
from _plain_pairs import SIZE, Loader, mean_colour
from PIL import Image

from core.errors import ManifestError
from core.settings import checked
from pipeline.context import Context
from pipeline.plan.manifest import load_manifest
from samples.columns import CANDIDATE, PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from samples.stored_images import rgb_image
from stages.candidates.stage import WaveSpeed
from stages.pair_scores.filters import FILTERS
from stages.score_edit import ScoreEdit
from stages.synthesise_pair import SynthesisePair

IDS = [f"{n:016x}-e{n + 1}" for n in range(5)]
PHOTOS = [encoded(Image.new("RGB", (40, 24), (50 + n, 60, 60)), "JPEG", quality=95) for n in range(5)]
SETTINGS = {
    "model": "zoo:sd", "encoder": "zoo:clip", "preset": None, "bounds": {"pair_l1": {"min": 0.25, "max": 0.4}},
    "keep": 2, "max_candidates": 6,
}  # fmt: skip


def photos(*numbers):
    numbers = numbers or range(5)
    return table(
        [IDS[n] for n in numbers], source_images=[[PHOTOS[n]] for n in numbers], source_format=["jpg"] * len(numbers),
        source_caption=["a red car" for _ in numbers], target_caption=["a blue car" for _ in numbers],
    )  # fmt: skip


def synthesised(rows=None, loader=None, **settings):
    ctx = Context(stage_name="synthesise_pair", seed=3, loader=loader or Loader())
    stage = checked(SynthesisePair, SETTINGS | settings, "synthesise_pair")
    return stage.open(ctx)(photos() if rows is None else rows)


def kept(table):
    return [row for row in table.to_pylist() if row[REJECT_REASON] is None]


def test_children_are_named_after_parent_and_candidate():
    rows = kept(synthesised())
    assert rows
    for row in rows:
        assert row[SAMPLE_ID] == f"{row[PARENT_ID]}-c{row['candidate_number']}"
    assert max(sum(row[PARENT_ID] == one for row in rows) for one in IDS) == 2


def test_the_columns_describe_the_pair_that_was_drawn():
    for row in kept(synthesised()):
        source, target = rgb_image(row["source_images"][0]), rgb_image(row["target_image"])
        assert (row["source_format"], row["target_format"]) == ("png", "png")
        assert (row["width_px"], row["height_px"]) == source.size == target.size == (40, 24)
        assert row["source_dhash"] == int(str(imagehash.dhash(source)), 16)
        change = row["synthesis_seed"] % 128
        assert np.asarray(target)[0, 0].tolist() == [one + change for one in mean_colour(source)]
        assert row["pair_l1"] == pytest.approx(change / 255, abs=1e-5)


def test_the_anchor_is_the_photograph_and_its_id_that_of_the_image():
    for row in kept(synthesised()):
        assert row["anchor_id"] == row[PARENT_ID][:16]
        assert row["anchor_image"] == PHOTOS[IDS.index(row[PARENT_ID])]
        assert row["anchor_format"] == "jpg"
    for row in kept(synthesised(keep_anchor=False)):
        assert row["anchor_id"] == row[PARENT_ID][:16]
        assert (row["anchor_image"], row["anchor_format"]) == (None, None)


def test_without_anchor_pairs_are_drawn_from_noise_alone():
    rows = kept(synthesised(anchor="none", strength=1.0))
    assert rows
    assert {(row["width_px"], row["height_px"]) for row in rows} == {SIZE}
    assert {(row["anchor_id"], row["anchor_image"], row["anchor_format"]) for row in rows} == {(None, None, None)}


def test_the_first_pair_holds_all_candidates():
    names = {CANDIDATE.field(n).name for n in range(CANDIDATE.num_fields)}
    assert set(ScoreEdit.writes) < names
    rows = kept(synthesised())
    for parent in {row[PARENT_ID] for row in rows}:
        first, *others = [row for row in rows if row[PARENT_ID] == parent]
        assert [row["candidates"] for row in others] == [None] * len(others)
        records = first["candidates"]
        assert [one["number"] for one in records] == list(range(1, len(records) + 1))
        assert all(set(one) == names for one in records)
        chosen = [one for one in records if one["is_kept"]]
        assert [one["number"] for one in chosen] == [row["candidate_number"] for row in (first, *others)]
        for one, row in zip(chosen, (first, *others), strict=True):
            assert (one["seed"], one["attention_frac"]) == (row["synthesis_seed"], row["attention_frac"])
            assert one["pair_direction_cos"] == row["pair_direction_cos"]
            assert row["synthesis_num_steps"] == {3: 1, 5: 3, 8: 4}[one["num_steps"]]
            assert (one["strength"], row["synthesis_strength"]) == pytest.approx((0.6, 0.6))


def test_of_less_than_one_step_one_is_run_and_recorded():
    rows = kept(synthesised(num_steps=(1,), strength=0.5))
    assert {row["synthesis_num_steps"] for row in rows} == {1}


def test_an_edit_without_a_pair_is_rejected_with_all_candidates():
    found = synthesised(bounds={"pair_l1": {"min": 0.9}}).to_pylist()
    assert [row[SAMPLE_ID] for row in found] == IDS
    assert {row[REJECT_REASON] for row in found} == {"no_candidate_passed"}
    assert {row[REJECT_DETAIL] for row in found} == {"6 candidates: 6 low_pair_l1"}
    assert {len(row["candidates"]) for row in found} == {6}


@pytest.mark.parametrize("pairs_per_wave", [1, 2, 7, 500])
def test_rows_do_not_depend_on_the_wave(pairs_per_wave):
    assert synthesised(speed=WaveSpeed(pairs_per_wave=pairs_per_wave)).equals(synthesised())


def test_rows_do_not_depend_on_the_other_rows():
    alone = [row for n in range(5) for row in synthesised(photos(n)).to_pylist()]
    assert alone == synthesised().to_pylist()
    backwards = synthesised(photos(4, 3, 2, 1, 0)).to_pylist()
    assert sorted(backwards, key=lambda row: row[SAMPLE_ID]) == alone


@pytest.mark.parametrize("image_format", ["png", "jpg", "webp"])
def test_scores_are_those_that_score_edit_gives_the_stored_pair(image_format):
    rows = synthesised(format=image_format, quality=70, image_encoder="zoo:dino")
    rows = rows.filter(pc.is_null(rows[REJECT_REASON]))
    assert rows.num_rows
    assert {Image.open(io.BytesIO(one.as_py())).format.lower()[:3] for one in rows["target_image"]} == {
        {"jpg": "jpe", "png": "png", "webp": "web"}[image_format]
    }
    again = ScoreEdit(encoder="zoo:clip", image_encoder="zoo:dino").open(Context(stage_name="x", loader=Loader()))
    bare = rows.select(["source_images", "target_image"])
    for name in ("source_caption", "target_caption"):
        bare = bare.append_column(name, photos(*[IDS.index(one) for one in rows[PARENT_ID].to_pylist()])[name])
    assert again(bare).select(ScoreEdit.writes).to_pylist() == rows.select(ScoreEdit.writes).to_pylist()


def test_the_defaults_are_those_of_the_released_script():
    stage = SynthesisePair(model="zoo:sd", encoder="zoo:clip", image_encoder="zoo:dino")
    assert (stage.num_steps, stage.strength, stage.attention_frac) == ((3, 5, 8), 0.6, (0.1, 0.9))
    assert (stage.keep, stage.max_candidates, stage.guidance_scale) == (4, 30, (0, 0))
    assert stage.keep == FILTERS["ultraedit-free"].keep


def test_settings_of_the_model_reach_it():
    loader = Loader()
    synthesised(loader=loader)
    assert loader.synthesizer.settings == {"shares_noise": True, "as_released": False}
    sizes = {"size_px": 64, "max_self_tokens": 9, "blend_grid": 1}
    synthesised(loader=loader, shares_noise=False, as_released=True, **sizes)
    assert loader.synthesizer.settings == {"shares_noise": False, "as_released": True, **sizes}


def requests(source_phrase, target_phrase, **settings):
    loader = Loader()
    rows = photos(0)
    for name, value in (("source_phrase", source_phrase), ("target_phrase", target_phrase)):
        rows = rows.append_column(name, pa.array([value], pa.string()))
    synthesised(rows, loader, **settings)
    return loader.synthesizer.requests[0]


def test_phrases_lead_the_local_blend_and_the_weights():
    found = requests("Red car,", "blue car", local_blend=True, target_weight=3.0, attention_edit="replace")
    assert (found.blend_words, found.word_weights, found.edit) == (
        ("red car", "blue car"),
        {"blue": 3, "car": 3},
        "replace",
    )
    plain = requests("red car", "blue car")
    assert (plain.blend_words, plain.word_weights, plain.edit) == (None, {}, "refine")


def test_words_that_a_caption_does_not_have_are_left_out():
    found = requests(None, "green car", local_blend=True, target_weight=2.0)
    assert (found.blend_words, found.word_weights) == (("", "car"), {"car": 2})
    assert requests("a dog", "dogs", local_blend=True).blend_words == ("a", "")
    assert requests("dog", "dogs", local_blend=True).blend_words is None


def test_phrases_are_read_where_the_settings_use_them():
    wanted = [
        checked(SynthesisePair, SETTINGS | settings, "synthesise_pair").needs_columns()
        for settings in ({}, {"target_weight": 2.0}, {"local_blend": True})
    ]
    assert wanted == [(), ("target_phrase",), ("source_phrase", "target_phrase")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "ultraedit-free"}, "a bound on pair_dino_cos needs image_encoder: name one, or use a preset"),
        ({"bounds": {"region_frac": {"min": 0.1}}}, "bounds.region_frac: expected a score of a pair (source_"),
        ({"attention_frac": (0.9, 0.1)}, "attention_frac: expected the lower end first"),
        ({"attention_frac": (0.5, 1.1)}, "attention_frac: expected numbers from 0 to 1"),
        ({"num_steps": ()}, "num_steps: "),
        ({"num_steps": (2, 0)}, "num_steps: expected numbers from 1 to inf"),
        ({"strength": 0.0}, "strength: "),
        ({"anchor": "none"}, 'anchor = "none" draws from noise alone: expected strength = 1.0, got 0.6'),
        ({"preset": "ultraedit"}, "preset: "),
        ({"bounds": {"outside_l1": {"max": 0.1}}}, "bounds.outside_l1: these pairs have no region to be outside of"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ManifestError) as caught:
        checked(SynthesisePair, SETTINGS | settings, "synthesise_pair", ManifestError)
    assert message in str(caught.value)


def test_the_published_filter_can_be_changed_score_by_score():
    stage = checked(
        SynthesisePair,
        SETTINGS | {"preset": "instruct-pix2pix", "bounds": {"pair_direction_cos": {"min": -1.0}}},
        "synthesise_pair",
    )
    assert stage.bounds["pair_direction_cos"].min == -1


def test_the_settings_are_written_in_a_manifest(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text("""
name = "x"
[[stage]]
use = "synthesise_pair"
model = "zoo:sd"
encoder = "zoo:clip"
preset = "none"
num_steps = [10, 12]
guidance_scale = [3, 5.5]
attention_frac = [0, 0.6]
bounds.pair_image_cos = { min = 0.4 }
speed = { pairs_per_wave = 8 }
""")
    stage = load_manifest(path).stages[0].stage
    assert (stage.num_steps, stage.guidance_scale, stage.attention_frac) == ((10, 12), (3.0, 5.5), (0.0, 0.6))
    assert (stage.preset, stage.speed.pairs_per_wave, stage.bounds["pair_image_cos"].min) == (None, 8, 0.4)
    assert pickle.loads(pickle.dumps(stage)) == stage
