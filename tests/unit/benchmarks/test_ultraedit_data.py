"""How the benchmark of the tiny UltraEdit data judges a pair, a region and a manifest."""

import random

import numpy as np
import pytest

from benchmarks.ultraedit_data.truth import Verdict, changed_mask, edit_fault, region_iou, verdict
from benchmarks.ultraedit_data.variants import RECIPES, ROOT, VARIANTS, changed
from pipeline.plan.manifest import load_manifest
from samples.stored_images import mask_png
from zoo.world import KINDS, caption, facts_of, possible_kinds, read_facts, sample_edit, scene_of, thing_masks

RED, BLUE = "a red car on a beach", "a blue car on a beach"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "move"])
def test_a_true_pair_shows_its_edit_and_keeps_the_rest(kind):
    scenes = (scene_of(3, index) for index in range(200))
    scene = next(scene for scene in scenes if kind in possible_kinds(scene))
    edit = sample_edit(scene, random.Random(1), kind)
    found = verdict(edit.source_caption, edit.target_caption, facts_of(edit.source), facts_of(edit.target))
    assert found == Verdict(shows=True, keeps=True)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (RED, RED, Verdict(False, False)),
        (RED, "a green car on a beach", Verdict(False, False)),
        ("a blue car on a beach", BLUE, Verdict(False, False)),
        (RED, "a blue car in a forest", Verdict(True, False)),
        (RED, "a blue car and a red dog on a beach", Verdict(True, False)),
        (RED, "a blue car and a red car on a beach", Verdict(False, False)),
        ("a red car on the moon", "a blue car on the moon", Verdict(True, True)),
    ],
)
def test_a_faulty_pair_is_told_from_a_true_one(before, after, expected):
    assert verdict(RED, BLUE, read_facts(before), read_facts(after)) == expected


def test_a_place_that_was_there_before_is_no_change():
    forest = "a red car in a forest"
    assert not verdict(RED, forest, read_facts(forest), read_facts(forest)).shows
    assert verdict(RED, forest, read_facts(RED), read_facts(forest)) == Verdict(True, True)


def test_a_region_is_compared_with_the_thing_that_changes():
    scene = next(one for one in (scene_of(3, index) for index in range(99)) if len(one.things) == 2)
    edit = sample_edit(scene, random.Random(1), "change_colour")
    old = next(thing for thing in edit.source.things if thing not in edit.target.things)
    true_HW = thing_masks(scene, 64)[scene.things.index(old)]
    captions = edit.source_caption, edit.target_caption
    assert (changed_mask(scene, *captions, 64) == true_HW).all()
    assert region_iou(mask_png(true_HW), scene, *captions) == 1
    assert region_iou(mask_png(np.ones_like(true_HW)), scene, *captions) == pytest.approx(true_HW.mean())


def test_an_edit_that_names_another_thing_is_not_true():
    scene = scene_of(3, 1)
    edit = sample_edit(scene, random.Random(1), "change_colour")
    row = {
        "source_caption": caption(scene), "target_caption": edit.target_caption, "instruction": edit.instruction,
        "reverse_instruction": edit.reverse_instruction, "edit_type": "change_colour",
        "edit_object": edit.source_phrase.split()[-1],
    }  # fmt: skip
    assert edit_fault(row) is None
    assert edit_fault(row | {"edit_object": "background"}) == "object"


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_variant_is_a_manifest_that_loads(recipe, tmp_path):
    text = (ROOT / "manifests" / "tiny" / f"{RECIPES[recipe]}.toml").read_text()
    for number, variant in enumerate(one for one in VARIANTS if recipe in one.recipes):
        path = tmp_path / f"{number}.toml"
        path.write_text(changed(text, variant.changes))
        stage = next(entry.stage for entry in load_manifest(path).stages if entry.name.startswith("synthesise_"))
        for name in variant.changes:
            assert name.startswith("bounds.") or getattr(stage, name) != type(stage).model_fields[name].default
