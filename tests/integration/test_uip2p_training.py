"""Whole trainings of UIP2P on zoo:sd: killed and resumed, on data that a manifest builds, refused without its texts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _builds import MANIFEST, build
from _cycle_edits import reversed_members
from _datasets import write_dataset
from _killed_trainings import curve, kill_at_step
from PIL import Image
from safetensors.torch import load_file

from cli import exits
from cli.main import app
from models.registry import revision
from samples.stored_arrays import npy
from trainer.loop import train
from trainer.recipe import make_recipe
from trainer.recipes.uip2p.recipe import Uip2p
from zoo.write_world import main as write_world

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
STEPS = 5
SETTINGS = {
    "model": "zoo:sd", "clip_model": "zoo:clip", "size_px": 64, "steps": STEPS, "seed": 4, "ema_decay": 0.9,
    "text_dropout": 0.2, "image_dropout": 0.2, "both_dropout": 0.1, "identity_loss": True,
    "clean_cycle_condition": True, "clean_steps": 2,
}  # fmt: skip
"""With this seed some batches lack latents that all samples of one kind, dropped or not, have."""
RUN_ON = {"batch_size": 3, "checkpoint_every": 2, "preview_every": 0, "device": "cpu"}
NAMES = ("direction", "attention", "similarity", "reconstruction", "identity", "dropped")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # one thread, as here; and accelerate warns without it
SCRIPT = """
import json
import sys

from trainer.loop import train
from trainer.recipe import make_recipe
from trainer.recipes.uip2p.recipe import Uip2p

train(make_recipe(Uip2p, json.loads(sys.argv[1])))
"""


def some_with_latents(index):
    """Members of a sample; every third one has no latent, so that batches are mixed."""
    members = reversed_members(index)
    if index % 3 == 0:
        return members
    made_by = {"latent_model": "zoo:sd", "latent_revision": revision("zoo:sd"), "latent_size_px": 64}
    latent = npy(np.random.default_rng(index).normal(size=(4, 16, 16)))
    light = json.dumps(json.loads(members["json"]) | made_by).encode()
    return {**members, "source_latent.npy": latent, "json": light}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", (3, 4, 2, 3), some_with_latents)


def settings(data, out, run_on=None):
    return make_recipe(Uip2p, {**SETTINGS, "data": str(data), "out": out, "run_on": {**RUN_ON, **(run_on or {})}})


def test_killed_training_resumes_as_if_it_had_run_through(data, tmp_path):
    values = json.dumps(settings(data, tmp_path / "killed").model_dump(mode="json", exclude_unset=True))
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, values], cwd=ROOT, env=ENVIRONMENT)
    kill_at_step(process, tmp_path / "killed")
    resumed = train(settings(data, tmp_path / "killed", {"num_workers": 1}), resume=True)
    through = train(settings(data, tmp_path / "through"))
    assert [row["step"] for row in curve(tmp_path / "killed")] == list(range(1, STEPS + 1))
    assert curve(tmp_path / "killed") == curve(tmp_path / "through")
    for row in curve(tmp_path / "through"):
        assert {f"loss/{name}" for name in NAMES} <= row.keys()
    found, expected = (
        load_file(one.model / "unet" / "diffusion_pytorch_model.safetensors") for one in (resumed, through)
    )
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def command(data, out, *more):
    """The exit code of a short training by command."""
    chosen = ("size_px=64", "clip_model=zoo:clip", "run_on.device=cpu", *more)
    flags = [flag for one in chosen for flag in ("--set", one)]
    arguments = ["--recipe", "uip2p", "--data", data, "--model", "zoo:sd", "--out", out, "--steps", 3, *flags]
    return exits.run(app, ["train", *(str(one) for one in arguments)])


@pytest.mark.parametrize("column", ["reverse_instruction", "source_caption"])
def test_data_without_a_text_is_refused_in_one_line(tmp_path, capsys, column):
    def lacking(index):
        members = reversed_members(index)
        light = {name: value for name, value in json.loads(members["json"]).items() if name != column}
        return {**members, "json": json.dumps(light).encode()}

    data = write_dataset(tmp_path / "edits", (2,), lacking)
    assert command(data, tmp_path / "out") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        f"dataset 'tiny' ({data}) has no {column}, which recipe uip2p needs: its first sample, 00000, lacks it" in line
    )
    assert not (tmp_path / "out" / "model").exists()


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The dataset that the default manifest makes of a few scenes."""
    folder = tmp_path_factory.mktemp("built")
    assert write_world([str(folder / "in"), "--shards", "1", "--scenes-per-shard", "6", "--seed", "5"]) == 0
    flags = ("--executor", "inprocess")
    code, _, printed = build(folder / "out", *flags, shards=folder / "in", manifest=MANIFEST, env=ENVIRONMENT)
    assert code == 0, printed[-2000:]
    return folder / "out" / "dataset"


def test_dataset_of_the_default_manifest_trains_without_another_step(built, tmp_path):
    previews = ("run_on.preview_every=3", "run_on.preview_samples=2", "run_on.preview.num_steps=2")
    assert command(built, tmp_path, *previews, "run_on.batch_size=2") == 0
    assert [row["step"] for row in curve(tmp_path)] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) and row["grad_norm"] > 0 for row in curve(tmp_path))
    index = json.loads((tmp_path / "model" / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionInstructPix2PixPipeline"
    with Image.open(tmp_path / "previews" / "step-00000003.png") as grid:
        assert grid.size == (2 * 64, 2 * 64)  # two samples, of each the source and the edit
        assert np.asarray(grid).std() > 0
