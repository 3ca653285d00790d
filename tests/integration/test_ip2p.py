"""Whole trainings of instruction editors on zoo:sd: killed and resumed, over two processes, in two stages."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _checkpoints import save_sdxl
from _datasets import encoded, sample_members, write_dataset
from _killed_trainings import curve, kill_at_step
from safetensors.torch import load_file

from cli import exits
from cli.main import app
from models.diffusion.editor_kinds import LORA_FOLDER
from models.registry import revision
from samples.stored_arrays import npy
from trainer.loop import train
from trainer.metrics import Metrics
from trainer.recipe import make_recipe
from trainer.recipes.ip2p.recipe import InstructPix2Pix
from trainer.setup import set_up

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
STEPS = 5
SETTINGS = {"model": "zoo:sd", "size_px": 64, "steps": STEPS, "seed": 3, "ema_decay": 0.9, "text_dropout": 0.2}
RUN_ON = {"batch_size": 2, "checkpoint_every": 2, "preview_every": 0, "device": "cpu"}
LEARNING_RATE = 1e-4  # the recipe's own; about what a weight moves in one step
PATHS = {
    "plain": {},
    "velocity": {"prediction_type": "v_prediction", "loss_weights": "min_snr", "conv_in_learning_rate": 1e-3},
    "region": {"region": True, "loss_weights": "clean"},
    "lora": {"region": True, "trained": "lora", "lora_rank": 4},
}
"""Settings of each way to train zoo:sd."""
ARRAYS = {"source_latent": (4, 16, 16), "target_latent": (4, 16, 16), "instruction_emb": (32, 128)}
"""Arrays of zoo:sd at 64 px, with their shapes."""


def some_of_all(index):
    """Members of a sample; every other one has a region, every third no arrays, so that all meet in a batch."""
    members = sample_members(index)
    if index % 3:
        generator, pinned = np.random.default_rng(index), revision("zoo:sd")
        arrays = {f"{name}.npy": npy(generator.normal(size=shape)) for name, shape in ARRAYS.items()}
        made_by = {"latent_model": "zoo:sd", "latent_revision": pinned, "latent_size_px": 64}
        made_by |= {"text_model": "zoo:sd", "text_revision": pinned}
        members |= {**arrays, "json": json.dumps(json.loads(members["json"]) | made_by).encode()}
    if index % 2:
        mask_HW = np.zeros((64, 64), np.uint8)
        mask_HW[: 8 * (index % 7 + 1), 16:] = 255
        members["region_mask.png"] = encoded(mask_HW, "PNG")
    return members


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", (3, 4, 2, 3), some_of_all)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """PATHS, and SDXL, which uses no array of the data."""
    model = f"path:{save_sdxl(tmp_path_factory.mktemp('model') / 'sdxl')}"
    return {**PATHS, "sdxl": {"model": model, "region": True}}


def settings(data, out, run_on=None, **more):
    values = {**SETTINGS, "data": str(data), "out": out, "run_on": {**RUN_ON, **(run_on or {})}, **more}
    return make_recipe(InstructPix2Pix, values)


def weights(folder):
    """Everything that a training changes, as it was saved."""
    files = [folder / "unet" / "diffusion_pytorch_model.safetensors", *(folder / LORA_FOLDER).glob("*.safetensors")]
    return {f"{file.stem}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


SCRIPT = """
import json
import sys

from trainer.loop import train
from trainer.recipe import make_recipe
from trainer.recipes.ip2p.recipe import InstructPix2Pix

for values in json.loads(sys.argv[1]):
    train(make_recipe(InstructPix2Pix, values))
"""


def start(trainings, variables):
    """Trainings, one after the other, in a fresh process: one that is forked from a process with threads may fail."""
    values = [one.model_dump(mode="json", exclude_unset=True) for one in trainings]
    variables = {"OMP_NUM_THREADS": 1, **variables}  # one thread, as here; and accelerate warns without it
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(values)], cwd=ROOT,
        env=os.environ | {name: str(value) for name, value in variables.items()},
    )  # fmt: skip


@pytest.mark.parametrize("path", [*PATHS, "sdxl"])
def test_resumed_training_gives_the_curve_and_weights_of_an_unbroken_one(data, tmp_path, monkeypatch, paths, path):
    through = train(settings(data, tmp_path / "through", **paths[path]))
    log = Metrics.log

    def broken(self, step, values, **more):
        if step == 4:
            raise KeyboardInterrupt
        return log(self, step, values, **more)

    monkeypatch.setattr(Metrics, "log", broken)
    with pytest.raises(KeyboardInterrupt):
        train(settings(data, tmp_path / "broken", **paths[path]))
    monkeypatch.setattr(Metrics, "log", log)
    assert not (tmp_path / "broken" / "model").exists()
    resumed = train(settings(data, tmp_path / "broken", {"num_workers": 1}, **paths[path]), resume=True)
    assert [row["step"] for row in curve(tmp_path / "broken")] == list(range(1, STEPS + 1))
    assert curve(tmp_path / "broken") == curve(tmp_path / "through")
    found, expected = weights(resumed.model), weights(through.model)
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_killed_training_of_adapters_resumes_as_if_it_had_run_through(data, tmp_path):
    process = start([settings(data, tmp_path / "killed", **PATHS["lora"])], {})
    kill_at_step(process, tmp_path / "killed")
    resumed = train(settings(data, tmp_path / "killed", **PATHS["lora"]), resume=True)
    through = train(settings(data, tmp_path / "through", **PATHS["lora"]))
    assert curve(tmp_path / "killed") == curve(tmp_path / "through")
    found, expected = weights(resumed.model), weights(through.model)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_two_processes_train_as_one_with_twice_the_batch(data, tmp_path, paths):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    group |= {"ACCELERATE_USE_CPU": "true"}
    paths = {name: {"steps": 3, **paths[name]} for name in ("velocity", "lora", "sdxl")}
    trainings = [settings(data, tmp_path / "two" / name, **more) for name, more in paths.items()]
    processes = [start(trainings, {**group, "RANK": rank, "LOCAL_RANK": rank}) for rank in range(2)]
    assert [process.wait(200) for process in processes] == [0, 0]
    for name, more in paths.items():
        result = train(settings(data, tmp_path / "one" / name, {"batch_size": 4}, **more))
        for row, expected in zip(curve(tmp_path / "two" / name), curve(tmp_path / "one" / name), strict=True):
            assert row == pytest.approx(expected, rel=2e-4, abs=2e-5)
        expected = weights(result.model)
        for key, tensor in weights(tmp_path / "two" / name / "model").items():
            # Adam turns the rounding of a gradient near 0 into a step of some size, so single weights may differ
            rate = more.get("conv_in_learning_rate", LEARNING_RATE)
            assert (tensor - expected[key]).abs().mean() < 0.01 * rate, key


def test_arrays_are_used_and_sides_in_instructions_forbid_mirroring(tmp_path):
    def members(index):
        found = some_of_all(index)
        light = json.loads(found["json"])
        return {
            **found,
            "json": json.dumps({**light, "instruction": ("make it red", "move it left")[index % 2]}).encode(),
        }

    data = write_dataset(tmp_path / "data", (12,), members)
    images = {}
    for is_flipped in (True, False):
        recipe = settings(data, tmp_path / "out", {"batch_size": 12}, horizontal_flip=is_flipped)
        batch = next(set_up(recipe, resume=False).loader.batches())
        for name in ARRAYS:
            lacking = {int(batch.keys[row]) for row in batch.rows_without(name)}
            assert lacking == {0, 3, 6, 9} or (is_flipped and lacking > {0, 3, 6, 9} and name != "instruction_emb")
        images[is_flipped] = dict(zip(batch.keys, batch["target_image"], strict=True))
    mirrored = {int(key) for key, image in images[True].items() if not torch.equal(image, images[False][key])}
    assert mirrored
    assert all(index % 2 == 0 for index in mirrored)


def command(*arguments):
    return exits.run(app, [str(one) for one in arguments])


def test_two_stages_by_command_and_the_second_takes_a_region(data, tmp_path):
    shared = ["--recipe", "ip2p", "--data", data, "--steps", 2, "--batch-size", 2, "--set", "size_px=64"]
    preview = ["--set", "run_on.preview_every=2", "--set", "run_on.preview.num_steps=2"]
    first, second = tmp_path / "first", tmp_path / "second"
    assert command("train", *shared, *preview, "--model", "zoo:sd", "--out", first) == 0
    region = ["--set", "region=true", "--model", f"path:{first / 'model'}"]
    assert command("train", *shared, *preview, *region, "--out", second) == 0
    assert (second / "previews" / "step-00000002.png").is_file()
    reported = json.loads((second / "model" / "editloom.json").read_text())
    assert (reported["recipe"], list(reported["models"])) == ("ip2p", [f"path:{first / 'model'}"])
    without = ["--model", f"path:{second / 'model'}", "--out", tmp_path / "third"]
    assert command("train", *shared, *without) == 2
