"""The benchmark of Beyond Editing Pairs' claims: its cells, its measures, and tiny cells end to end."""

import dataclasses
import random

import numpy as np
import pytest
from _claims import assert_claims_have_rows_and_measures

from benchmarks.claims.claims import Comparison
from benchmarks.claims.command import run_cell
from benchmarks.regions_claims import contact_sheet, run
from benchmarks.regions_claims.cells import CLAIMS, EDITS, LAYOUT, cells
from benchmarks.regions_claims.measures import GROUPS, group_of, iou, is_wrong, size_rank, with_regions
from benchmarks.regions_claims.settings import KINDS, Numbers
from trainer.recipes.regions.recipe import Regions
from zoo.evaluation.edits import EditScores, KindScores
from zoo.world import edit_mask, sample_edit, sample_scene, thing_masks

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # of diffusers' schedulers
]

TINY = dataclasses.replace(
    Numbers(), edits_per_seed=4, fewer_edits=2, steps=1, batch_size=2, num_cases=10,
    training={**Numbers().training, "warmup_steps": 0, "generator_steps": 1},
    editing={"num_steps": 1, "guidance_scale": 1.0, "margin_frac": 0.03},
)  # fmt: skip


def edit_of(kind, num_things=2):
    rng = random.Random(f"{kind} {num_things}")
    return sample_edit(sample_scene(rng, num_things=num_things), rng, kind)


def test_every_claim_compares_rows_and_measures_that_there_are():
    assert_claims_have_rows_and_measures(CLAIMS, cells(Numbers()), LAYOUT.measures)


def test_cells_change_settings_that_the_recipe_has():
    for cell in cells(Numbers()).values():
        assert set(cell.settings) <= set(Regions.model_fields)
        assert not cell.settings or cell.way == "trained"
    assert set(Numbers().training) <= set(Regions.model_fields)


@pytest.mark.parametrize("measure", ["wrong_object", "region_frac", "l1_thing"])
def test_less_is_better_of_faults_and_sizes(measure):
    assert not Comparison(text="", measure=measure, better=(), worse=()).is_up
    assert Comparison(text="", measure="iou_thing", better=(), worse=()).is_up


def test_iou_is_of_areas():
    one, other = np.zeros((2, 4, 4), np.bool_)
    one[:2], other[1:3] = True, True
    assert iou(one, other) == pytest.approx(1 / 3)
    assert iou(np.zeros_like(one), other) == 0


def test_edit_is_small_medium_large_or_whole():
    assert [group_of(edit_of(kind), Numbers()) for kind in ("change_background", "change_style")] == ["whole"] * 2
    edit = edit_of("remove")
    share = float(edit_mask(edit).mean())
    for below, start, group in ((1.0, 1.0, "small"), (0.0, 1.0, "medium"), (0.0, 0.0, "large")):
        numbers = dataclasses.replace(Numbers(), small_below=below * (share + 0.01), large_from=start)
        assert group_of(edit, numbers) == group


def test_mask_on_the_other_thing_is_wrong():
    edit = edit_of("change_colour")
    masks = thing_masks(edit.source)
    is_changed = [thing not in edit.target.things for thing in edit.source.things]
    right, wrong = (masks[[one is wanted for one in is_changed]].any(0) for wanted in (True, False))
    assert not is_wrong(edit, right)
    assert is_wrong(edit, wrong)
    assert not is_wrong(edit, right | wrong)


def test_ranks_of_sizes_are_compared():
    assert size_rank([(0.1, 0.2), (0.2, 0.3), (0.9, 0.5)]) == pytest.approx(1)
    assert size_rank([(0.9, 0.2), (0.2, 0.3), (0.1, 0.5)]) == pytest.approx(-1)
    assert size_rank([(1.0, 0.2), (1.0, 0.3)]) == 0


def test_true_masks_have_the_best_measures():
    edits = [edit_of(kind) for kind in KINDS]
    plain = {group_of(edit, Numbers()): KindScores({"l1": 0.1}, {"l1": 0.0}, {"l1": 1}) for edit in edits}
    found = with_regions(EditScores(plain), edits, [edit_mask(edit) for edit in edits], Numbers())
    for measure in ("iou", "iou_thing", "size_rank"):
        assert found.mean(measure, GROUPS) == pytest.approx(1)
    assert found.mean("wrong_object", GROUPS) == 0
    assert "region_frac" not in found.kinds["whole"].mean
    assert "l1_thing" not in found.kinds["whole"].mean


@pytest.mark.parametrize("name", ["full", "without-clip", "boxes", "ip2p"])
def test_cell_is_trained_and_scored_once(name, tmp_path):
    result = run_cell(run.BENCHMARK, name, 0, tmp_path, TINY)
    assert set(result.tasks) == set(cells(TINY)[name].tasks)
    scores = result.tasks[EDITS]
    assert sum(one.num["read_back"] for one in scores.kinds.values()) == 10
    has_regions = "iou" in next(iter(scores.kinds.values())).mean
    assert has_regions == (name != "ip2p")
    assert run_cell(run.BENCHMARK, name, 0, tmp_path, TINY) == result
    if name == "full":
        assert contact_sheet.main([str(tmp_path / "sheet.png"), "--out", str(tmp_path), "--count", "2"]) == 0
        assert {"full", "full, zoo:sd", "full, region"} <= set(contact_sheet.columns(tmp_path, 0))


def test_a_run_folder_is_of_one_revision_of_each_model_that_cells_use():
    used = run.models(dataclasses.replace(TINY, other_generator="zoo:ip2p-early"))
    assert used[:2] == ("zoo:sd-inpaint", "zoo:ip2p-early")
    assert set(used[2:]) == {"zoo:clipseg", "zoo:grounding-dino", "zoo:sam", "zoo:ip2p"}
