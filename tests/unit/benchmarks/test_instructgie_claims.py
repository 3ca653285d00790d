"""The benchmark of InstructGIE's claims: its cells, its measures, and a tiny start and tiny cells end to end."""

import dataclasses
import io
import json

import numpy as np
import pytest
from _claims import assert_claims_have_rows_and_measures
from _datasets import samples_of
from PIL import Image

from benchmarks.claims.claims import Comparison
from benchmarks.claims.command import run_cell
from benchmarks.instructgie_claims import contact_sheet, run
from benchmarks.instructgie_claims.cells import CLAIMS, FURTHER_MEASURES, LAYOUT, PARAPHRASES, cells
from benchmarks.instructgie_claims.measures import with_further
from benchmarks.instructgie_claims.settings import Numbers
from benchmarks.instructgie_claims.start import STARTS, start_folder
from evaluation.benchmarks.pairs import Pairs
from zoo.evaluation.edits import EditScores, KindScores
from zoo.visual_prompts import SHARED_KINDS
from zoo.world import read_facts
from zoo.write_visual_prompts import TASKS, PromptOrder, write_cases

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"),  # of diffusers' schedulers
]

TINY = Numbers(
    num_seeds=1, num_requests=2, pairs_per_request=3, start_images=4, start_steps=1, steps=1, batch_size=2,
    start_training={}, training={}, instructgie={"clip_model": "zoo:clip", "hint_width": 8, "hint_depth": 1}, ip2p={},
    num_cases=3, num_paraphrased=1, editing={"num_steps": 1, "guidance_scale": 1.0},
    sdedit={"num_steps": 2, "guidance_scale": 1.0},
)  # fmt: skip


def test_every_claim_compares_rows_and_measures_that_there_are():
    assert_claims_have_rows_and_measures(CLAIMS, cells(Numbers()), LAYOUT.measures)


def test_cells_remove_one_part_each():
    full, *others = (cell for cell in cells(Numbers()).values() if cell.recipe == "instructgie")
    assert full.settings == {}
    assert [sorted(cell.settings) for cell in others] == [
        ["hint_encoder", "zero_layers"], ["lambda_shift"], ["unified"], ["lambda_selective"],
    ]  # fmt: skip


@pytest.mark.parametrize(("measure", "is_up"), [("fid", False), ("l1_selective", False), ("spread_l1", False),
                                                ("read_back", True), ("clip_direction", True)])  # fmt: skip
def test_direction_of_each_measure(measure, is_up):
    assert Comparison(text="", measure=measure, better=(), worse=()).is_up == is_up


def grey(value):
    return Image.new("RGB", (32, 32), (value,) * 3)


def test_further_measures_are_those_of_the_images(tmp_path):
    cases, out = tmp_path / "cases", tmp_path / "out"
    write_cases(cases, PARAPHRASES, 2, PromptOrder(seed=0, num_requests=4, size_px=32))
    rows = [json.loads(line) for line in (cases / "cases.jsonl").read_text().splitlines()]
    (out / "outputs").mkdir(parents=True)
    for number, row in enumerate(rows):
        grey(51 * (number % 5)).save(out / "outputs" / f"{row['key']}.png")
    plain = EditScores(
        {kind: KindScores({"l1": 0.5}, {"l1": 0.0}, {"l1": 2}) for kind in {r["edit_type"] for r in rows}}
    )
    found = with_further(plain, cases, out)
    # greys 0, .2, .4, .6, .8: the mean of the ten differences is .4
    assert found.mean("spread_l1", SHARED_KINDS) == pytest.approx(0.4)
    expected = []
    for number, row in enumerate(rows):
        inside = np.asarray(Image.open(cases / row["selective"])) >= 128
        target = np.asarray(Image.open(cases / row["target"]).convert("RGB"), float) / 255
        expected.append(np.abs(target - 0.2 * (number % 5)).mean(-1)[inside].mean())
    assert found.mean("l1_selective", SHARED_KINDS) == pytest.approx(np.mean(expected), abs=1e-3)
    assert found.mean("l1", SHARED_KINDS) == 0.5
    for row in rows:
        Image.open(cases / row["target"]).convert("RGB").save(out / "outputs" / f"{row['key']}.png")
    perfect = with_further(plain, cases, out)
    assert perfect.mean("fid", SHARED_KINDS) == pytest.approx(0, abs=1e-3)
    assert found.error("fid", SHARED_KINDS) > 0
    assert perfect.mean("l1_selective", SHARED_KINDS) == perfect.mean("spread_l1", SHARED_KINDS) == 0
    assert found.mean("fid", SHARED_KINDS) > 1


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    out = tmp_path_factory.mktemp("claims")
    run.make_data(out, TINY)
    return out, {
        name: run_cell(run.BENCHMARK, name, 0, out, TINY) for name in ("full", "without-vmamba", "ip2p", "sdedit")
    }


@pytest.mark.parametrize("name", STARTS)
def test_start_is_a_text_to_image_model_for_the_autoencoders_latents(tiny, name):
    folder = start_folder(tiny[0], name)
    assert json.loads((folder / "model_index.json").read_text())["_class_name"] == "StableDiffusionPipeline"
    config = json.loads((folder / "unet" / "config.json").read_text())
    assert config["in_channels"] == config["out_channels"] == 16
    scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "v_prediction"


def test_starts_see_the_same_scenes_under_the_same_captions(tiny):
    grids, scenes = (samples_of(start_folder(tiny[0], name).parent / "data") for name in STARTS)
    for number, (grid, scene) in enumerate(zip(grids, scenes, strict=True)):
        assert grid["json"] == scene["json"]
        grid_HWC, scene_HWC = (np.asarray(Image.open(io.BytesIO(one["target.png"]))) for one in (grid, scene))
        assert (grid_HWC[32:, 32:] == scene_HWC).all()
        assert read_facts(json.loads(grid["json"])["target_caption"]).things
        assert (grid_HWC[:, :32] == grid_HWC[:, 32:]).all() == bool(number % 2)  # rows of one scene


def test_a_cell_is_scored_at_each_task_by_all_measures(tiny):
    for result in tiny[1].values():
        assert list(result.tasks) == list(TASKS)
        for task, scores in result.tasks.items():
            wanted = [one for one in FURTHER_MEASURES if one != "spread_l1" or task == PARAPHRASES]
            assert all(scores.mean(one, SHARED_KINDS) >= 0 for one in (*wanted, "l1", "read_back"))


def test_a_finished_cell_is_not_run_again(tiny):
    out, found = tiny
    untrained = dataclasses.replace(run.BENCHMARK, train=None)
    assert run_cell(untrained, "full", 0, out, TINY) == found["full"]


def test_the_table_has_every_row_and_verdict(tiny, capsys):
    out, _ = tiny
    assert run.main(["--out", str(out), "--seeds", "0", "--table", "--numbers", json.dumps(TINY.as_json())]) == 0
    text = capsys.readouterr().out
    for name in (
        "copy the source, in-domain",
        "sdedit, paraphrases",
        "full, out-of-domain",
        "ip2p, in-domain",
    ):
        assert f"| {name} |" in text
    assert all(claim.text in text for claim in CLAIMS)


def test_cases_of_a_seed_are_written_once(tiny):
    out, _ = tiny
    folder, cases = run._cases("in-domain", 0, out, TINY)
    before = (folder / "cases.jsonl").stat().st_mtime_ns
    assert (
        run._cases("in-domain", 0, out, TINY)[1].fingerprint()
        == cases.fingerprint()
        == Pairs().read(folder).fingerprint()
    )
    assert (folder / "cases.jsonl").stat().st_mtime_ns == before


def test_sheet_shows_the_example_of_each_edit(tiny, tmp_path):
    out, _ = tiny
    assert contact_sheet.main([str(tmp_path / "sheet.png"), "--out", str(out), "--count", "2"]) == 0
    columns = contact_sheet.columns(out, 0)
    assert {"full", "without-vmamba", "ip2p"} <= set(columns)
    width = Image.open(tmp_path / "sheet.png").width
    assert width == (4 + len(columns)) * 86 + 6  # two images of the example, source, target
    assert contact_sheet.main([str(tmp_path / "none.png"), "--out", str(tmp_path)]) == 1
