"""A recipe from outside of the project, `tests/_mean_colour.py`, with nothing changed in it: the loop knows no recipe.

docs/extending.md walks through a recipe of this kind.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from _datasets import edit_of, sample_members, write_dataset
from _mean_colour import MeanColour, MeanColourObjective, Tint, TintSettings
from PIL import Image

from cli.exits import run
from cli.main import app
from core.errors import ContractError
from evaluation.benchmarks.pairs import Pairs
from evaluation.editors import EditorChoice
from evaluation.run import evaluate
from models import registry
from models.model_ids import find
from models.placement import Placement
from models.protocols import EditRequest
from trainer.loop import train
from trainer.metrics import TIMINGS, read_metrics
from trainer.recipe import make_recipe
from trainer.recipes import find_recipe
from zoo.world import render
from zoo.write_edits import EditOrder, write_edits

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
NAME = "_mean_colour:MeanColour"
STEPS = 40
RUN_ON = {"batch_size": 4, "device": "cpu", "checkpoint_every": 20, "preview_every": 20, "preview_samples": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", (6, 6))


def settings(data, out, **more):
    given = {"data": str(data), "out": out, "steps": STEPS, "learning_rate": 0.01, "run_on": RUN_ON}
    return make_recipe(find_recipe(NAME), {**given, **more})


@pytest.fixture(scope="module")
def through(data, tmp_path_factory):
    """The folder of a training without interruption."""
    out = tmp_path_factory.mktemp("through")
    train(settings(data, out))
    return out


def curve(out):
    return [{name: value for name, value in row.items() if name not in TIMINGS} for row in read_metrics(out)]


def test_recipe_trains_and_its_loss_falls(through):
    losses = [row["loss"] for row in curve(through)]
    assert len(losses) == STEPS
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert curve(through)[0].keys() >= {"loss/colour", "grad_norm", "learning_rate"}


def test_resumed_training_gives_the_same_losses_and_the_same_model(data, through, tmp_path):
    train(settings(data, tmp_path, steps=20))
    train(settings(data, tmp_path), resume=True)
    assert curve(tmp_path) == curve(through)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "model" / name).read_bytes() == (through / "model" / name).read_bytes()


def test_previews_show_source_edit_and_target(through):
    grids = sorted((through / "previews").iterdir())
    assert [path.name for path in grids] == ["step-00000020.png", "step-00000040.png"]
    pixels = np.asarray(Image.open(grids[1]), int)
    assert pixels.shape == (2 * 32, 3 * 32, 3)
    assert (pixels[:, :32] != pixels[:, 32:64]).any()


def test_saved_editor_leads_images_towards_the_targets_colour(through):
    editor = Tint(find(f"path:{through / 'model'}"), Placement(device="cpu"), TintSettings(strength=1.0))
    edits = [edit_of(index) for index in range(12)]
    requests = [EditRequest(image=Image.fromarray(render(e.source)), instruction=e.instruction) for e in edits]
    found = [np.asarray(image, float).mean((0, 1)) for image in editor.edit(requests, seeds=range(12))]
    targets = [render(e.target).mean((0, 1)) for e in edits]
    apart = np.abs(np.subtract(found, targets)).mean()
    assert apart < 0.7 * np.abs(np.mean(targets, 0) - targets).mean()  # better than one colour for all


def test_command_trains_a_recipe_named_by_module_and_class(data, tmp_path):
    pairs = ["--set=run_on.device=cpu", "--set=run_on.preview_every=0"]
    line = ["-m", "cli.train", f"--recipe={NAME}", f"--data={data}", f"--out={tmp_path}", "--steps=2", *pairs]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *line, "--batch-size=2"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'model'}: 2 steps, last loss ")


def test_command_edits_with_the_trained_editor(through, tmp_path, monkeypatch):
    monkeypatch.setitem(registry.WRAPPERS["Editor"], "mean-colour", "_mean_colour:Tint")
    source = tmp_path / "source.png"
    Image.fromarray(render(edit_of(0).source)).save(source)
    options = ["--model", f"path:{through / 'model'}", "--set", "strength=1.0", "--device", "cpu"]
    assert run(app, ["edit", str(source), edit_of(0).instruction, "--out", str(tmp_path / "edited.png"), *options]) == 0
    assert len(np.unique(np.asarray(Image.open(tmp_path / "edited.png")).reshape(-1, 3), axis=0)) == 1


def test_editor_is_evaluated_by_what_it_declares(through, tmp_path):
    write_edits(tmp_path / "cases", EditOrder(4, 0, ("replace_noun", "change_colour")))
    editor = Tint(find(f"path:{through / 'model'}"), Placement(device="cpu"), TintSettings())
    choice = EditorChoice.of_editor(editor, "mean colour", {"revision": "test"})
    scores = evaluate(Pairs().read(tmp_path / "cases"), tmp_path / "scores", editor=choice)
    assert 0 < scores.value("l1") < 1
    assert len(list((tmp_path / "scores" / "outputs").glob("*.png"))) == 4


def test_result_says_where_it_came_from(through):
    import json

    reported = json.loads((through / "model" / "editloom.json").read_text())
    assert (reported["recipe"], reported["models"], reported["config"]["num_features"]) == ("mean-colour", {}, 16)


def test_column_that_the_recipe_does_not_declare_is_an_error(data, tmp_path, monkeypatch):
    monkeypatch.setattr(MeanColourObjective, "loss", lambda self, batch, draws: batch["source_images"])
    with pytest.raises(ContractError, match="recipe mean-colour asks for the column 'source_images', which it does"):
        train(settings(data, tmp_path))


def test_editor_that_previews_cannot_serve_needs_none(data, tmp_path, monkeypatch):
    monkeypatch.setattr(Tint, "needs", frozenset({"instruction", "examples"}))
    with pytest.raises(ContractError, match=r"which previews cannot give it; set run_on.preview_every=0"):
        train(settings(data, tmp_path / "shown", steps=1))
    train(settings(data, tmp_path / "out", steps=1, run_on={**RUN_ON, "preview_every": 0}))
    assert (tmp_path / "out" / "model").is_dir()


def test_dataset_without_target_images_is_trained_on_where_none_is_read(tmp_path, monkeypatch):
    def bare(index):
        return {name: content for name, content in sample_members(index).items() if not name.startswith("target")}

    def loss(self, batch, draws):
        colour = self._network(batch["instruction"]).square().mean()
        return colour, {"colour": colour.detach()}

    monkeypatch.setattr(MeanColour, "reads", ("instruction",))
    monkeypatch.setattr(MeanColourObjective, "loss", loss)
    folder = write_dataset(tmp_path / "data", (4,), bare)
    train(settings(folder, tmp_path / "out", steps=2, run_on={**RUN_ON, "preview_every": 2}))
    assert Image.open(tmp_path / "out" / "previews" / "step-00000002.png").size == (2 * 32, 2 * 32)
