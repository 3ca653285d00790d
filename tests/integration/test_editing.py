"""The whole way with miniature models: held-out edits of the world, edited by zoo:sd, scored against the truth."""

import json
import random

import numpy as np
import pytest
from PIL import Image

from cli.exits import run
from cli.main import app
from evaluation.benchmarks.pairs import Pairs
from evaluation.editors import EditorChoice
from evaluation.judges import JudgeIds
from evaluation.masks import PhraseMasks
from evaluation.run import evaluate
from models import registry
from models.protocols import EditRequest
from zoo.world import caption, facts_of, render, sample_edit, scene_of
from zoo.write_edits import EditOrder, write_edits

pytestmark = pytest.mark.usefixtures("one_thread")

JUDGES = JudgeIds(clip=("zoo:clip",), dino=("zoo:dino",), fid=("zoo:dino",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("edits")
    write_edits(made, EditOrder(6, 0, ("replace_noun", "change_colour")))
    return made


def scored(folder, out, num_steps=12, masks="none"):
    editor = EditorChoice.of_model("zoo:sd", {"num_steps": num_steps}, masks=masks)
    return evaluate(Pairs().read(folder), out, editor=editor, judges=JUDGES)


def test_masks_keep_the_rest_and_scores_tell(folder, tmp_path):
    """A text-to-image model repaints everything. With the true mask, or one found by phrase, it keeps the rest."""
    free = scored(folder, tmp_path / "free")
    given = scored(folder, tmp_path / "given", masks="given")
    found = scored(folder, tmp_path / "found", masks=PhraseMasks("zoo:clipseg"))
    for masked in (given, found):
        assert masked.value("l1_outside") < 0.7 * free.value("l1_outside")
        assert masked.value("ssim_not_m") > free.value("ssim_not_m") + 0.05
    untouched = evaluate(Pairs().read(folder), tmp_path / "untouched", outputs=copies(folder, tmp_path), judges=JUDGES)
    assert given.value("l1") < free.value("l1")
    assert given.value("clip_t") > untouched.value("clip_t") + 0.1
    assert given.value("clip_direction") > 0.3
    assert untouched.value("clip_direction") == pytest.approx(0, abs=1e-6)
    assert untouched.value("ssim_not_m") == pytest.approx(1)
    assert untouched.value("fid_source") == pytest.approx(0, abs=1e-5)


def copies(folder, tmp_path):
    """Outputs of an editor that does nothing."""
    made = tmp_path / "copies"
    made.mkdir()
    for case in Pairs().read(folder).cases:
        (made / f"{case.key}.png").write_bytes(case.source.read_bytes())
    return made


def test_an_interrupted_run_resumes_and_gives_the_same_images(folder, tmp_path):
    settings = {"num_steps": 4}
    whole = scored(folder, tmp_path / "whole", **settings)
    again = tmp_path / "again" / "outputs"
    again.mkdir(parents=True)
    for path in sorted((tmp_path / "whole" / "outputs").glob("*.png"))[::2]:
        (again / path.name).write_bytes(path.read_bytes())
    scores = scored(folder, tmp_path / "again", **settings)
    assert scores.sections["all"].mean == pytest.approx(whole.sections["all"].mean, abs=1e-3)
    for path in (tmp_path / "whole" / "outputs").glob("*.png"):
        one, other = (np.asarray(Image.open(found), np.int16) for found in (path, again / path.name))
        assert np.abs(one - other).max() <= 1


def test_zoo_sd_edits_at_its_own_size_and_gives_back_the_images_own(tmp_path):
    images = [Image.fromarray(render(scene_of(9, 0), size)) for size in (64, 128)]
    editor = registry.load("Editor", "zoo:sd", settings=registry.editor_settings("zoo:sd")(num_steps=4))
    requests = [EditRequest(image=image, target_caption="a red car on the grass") for image in images]
    small, large = editor.edit(requests, seeds=[1, 1])
    assert (small.size, large.size) == ((64, 64), (128, 128))
    assert editor._pipeline.vae_scale_factor == 4


def test_both_commands_run_on_the_miniature_models(folder, tmp_path, capsys):
    edit = sample_edit(scene_of(9, 4), random.Random(0), "change_colour")
    assert facts_of(edit.source) != facts_of(edit.target)
    Image.fromarray(render(edit.source)).save(tmp_path / "scene.png")
    flags = ["--model", "zoo:sd", "--set", "num_steps=4", "--mask-model", "zoo:clipseg", "--phrase", edit.source_phrase]
    argv = [str(tmp_path / "scene.png"), caption(edit.target), "--out", str(tmp_path / "edited.png"), *flags]
    assert run(app, ["edit", *argv]) == 0
    assert Image.open(tmp_path / "edited.png").size == (64, 64)
    argv = [
        "pairs",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--model",
        "zoo:sd",
        "--set",
        "num_steps=4",
        "--limit",
        "2",
    ]
    assert run(app, ["evaluate", *argv, "--clip", "zoo:clip", "--dino", "zoo:dino", "--fid", "zoo:dino", "--json"]) == 0
    captured = capsys.readouterr()
    scores = json.loads(captured.out.partition("edited.png\n")[2])
    assert scores["sections"]["all"]["num"]["fid_target@zoo:dino"] == 2
    assert scores["editor"]["revision"] == registry.revision("zoo:sd")
    assert "Loading" not in captured.err
