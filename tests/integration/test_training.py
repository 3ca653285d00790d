"""Whole trainings of zoo:sd on a dataset of the miniature world: through, killed and resumed, over two processes."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from _datasets import edit_of, write_dataset
from _killed_trainings import curve, kill_at_step

from core.errors import InterruptedTraining, NotFiniteError, UsageError
from trainer.loop import train
from trainer.metrics import Metrics, read_metrics
from trainer.recipe import make_recipe
from trainer.recipes.iedit.recipe import IEdit
from zoo.world import render

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]

STEPS = 6
SETTINGS = {
    "model": "zoo:sd", "size_px": 64, "steps": STEPS, "clip_model": "zoo:clip", "seed": 3,
    "perceptual_model": "zoo:dino", "ema_decay": 0.9,
}  # fmt: skip
RUN_ON = {"batch_size": 2, "checkpoint_every": 2, "preview_every": 0, "device": "cpu"}

LEARNING_RATE = 2e-4  # the recipe's own; about what a weight moves in one step


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", (3, 4, 2, 3))


def settings(data, out, run_on=None, **more):
    values = {**SETTINGS, "data": str(data), "out": out, "run_on": {**RUN_ON, **(run_on or {})}, **more}
    return make_recipe(IEdit, values)


@pytest.fixture(scope="module")
def through(data, tmp_path_factory):
    """A training without interruption, with previews, which change nothing: those it is compared with have none."""
    run_on = {"preview_every": 4, "preview_samples": 2, "preview": {"num_steps": 3}}
    config = settings(data, tmp_path_factory.mktemp("through"), run_on)
    return config, train(config)


def start(data, out, variables, run_on=None, **more):
    """The command in a fresh process: one forked from a process in which torch has threads may fail in torch."""
    values = SETTINGS | more | {f"run_on.{key}": value for key, value in {**RUN_ON, **(run_on or {})}.items()}
    pairs = [f"--set={key}={json.dumps(value)}" for key, value in values.items()]
    line = [sys.executable, "-m", "cli.train", "--recipe=iedit", f"--data={data}", f"--out={out}", *pairs]
    variables = {"OMP_NUM_THREADS": 1, **variables}  # one thread, as here; and accelerate warns without it
    return subprocess.Popen(line, cwd=ROOT, env=os.environ | {name: str(value) for name, value in variables.items()})


def weights(folder):
    from safetensors.torch import load_file

    return load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")


def test_curve_has_every_loss_of_every_step_and_all_are_finite(through):
    rows = curve(through[0].out)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    parts = {f"loss/{name}" for name in ("latent", "global", "local", "perceptual")}
    assert all(row.keys() == {"step", "epoch", "loss", "grad_norm", "learning_rate", *parts} for row in rows)
    assert all(np.isfinite(list(row.values())).all() and row["grad_norm"] > 0 for row in rows)
    assert rows[-1]["epoch"] == 1.0


def test_killed_and_resumed_training_gives_the_same_curve_and_weights(data, through, tmp_path):
    process = start(data, tmp_path, {})
    kill_at_step(process, tmp_path)
    result = train(settings(data, tmp_path), resume=True)
    assert curve(tmp_path) == curve(through[0].out)
    found, expected = weights(result.model), weights(through[1].model)
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


def test_two_processes_train_as_one_with_twice_the_batch(data, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    group |= {"ACCELERATE_USE_CPU": "true"}
    more = {"steps": 3, "local_loss": False, "perceptual_loss": False}
    processes = [
        start(data, tmp_path / "two", {**group, "RANK": rank, "LOCAL_RANK": rank}, {"num_workers": 1}, **more)
        for rank in range(2)
    ]
    assert [process.wait(200) for process in processes] == [0, 0]
    for name, run_on in (("twice the batch", {"batch_size": 4}), ("two batches a step", {"accumulate": 2})):
        result = train(settings(data, tmp_path / name, run_on, **more))
        for row, expected in zip(curve(tmp_path / "two"), curve(tmp_path / name), strict=True):
            assert row == pytest.approx(expected, rel=2e-4, abs=2e-5)
        expected = weights(result.model)
        for key, tensor in weights(tmp_path / "two" / "model").items():
            # Adam turns the rounding of a gradient near 0 into a step of some size, so single weights may differ
            assert (tensor - expected[key]).abs().mean() < 0.01 * LEARNING_RATE, key


def test_only_input_and_middle_layers_of_the_unet_have_changed(through):
    from diffusers import StableDiffusionPipeline

    from models.schemes.zoo import ZOO

    before = StableDiffusionPipeline.from_pretrained(ZOO / "sd", dtype=torch.float32, use_safetensors=True)
    after = StableDiffusionPipeline.from_pretrained(through[1].model, dtype=torch.float32, use_safetensors=True)
    for part in ("vae", "text_encoder", "unet"):
        pairs = zip(getattr(before, part).named_parameters(), getattr(after, part).parameters(), strict=True)
        changed = {name for (name, one), other in pairs if not torch.equal(one, other)}
        groups = {name.partition(".")[0] for name in changed}
        assert groups == ({"conv_in", "down_blocks", "mid_block"} if part == "unet" else set())


def test_result_loads_in_diffusers_and_edits(through):
    from diffusers import StableDiffusionImg2ImgPipeline
    from PIL import Image

    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(through[1].model, use_safetensors=True)
    pipeline.set_progress_bar_config(disable=True)
    edit = edit_of(0)
    source = Image.fromarray(render(edit.source))
    edited = pipeline(
        edit.target_caption, image=source, strength=0.7, num_inference_steps=10, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(0),
    ).images[0]  # fmt: skip
    assert edited.size == (64, 64)
    difference = np.abs(np.asarray(edited, int) - np.asarray(source, int)).mean()
    assert 1 < difference < 100
    assert not list(through[1].model.rglob("*.bin"))


def test_result_says_where_it_came_from(through):
    reported = json.loads((through[1].model / "editloom.json").read_text())
    assert (reported["recipe"], reported["seed"], reported["steps"]) == ("iedit", 3, STEPS)
    assert reported["dataset"]["num_samples"] == 12
    assert reported["dataset"]["fingerprint"].startswith("sha256:")
    assert reported["models"].keys() == {"zoo:sd", "zoo:clip", "zoo:dino"}
    assert all(revision.startswith("sha256:") for revision in reported["models"].values())
    assert reported["config"]["run_on"]["batch_size"] == 2
    assert reported["config"]["streams"] == 4
    assert reported["metrics"] == read_metrics(through[0].out)[-1] == through[1].metrics
    assert torch.__version__.startswith(reported["versions"]["torch"])


def test_previews_show_source_edit_and_target_a_row(through):
    from PIL import Image

    grids = sorted((through[0].out / "previews").iterdir())
    assert [path.name for path in grids] == ["step-00000004.png"]
    pixels = np.asarray(Image.open(grids[0]), int)
    assert pixels.shape == (128, 192, 3)
    assert np.abs(pixels[:64, :64] - render(edit_of(0).source)).mean() < 5
    assert np.abs(pixels[:64, 128:] - render(edit_of(0).target)).mean() < 5


def test_signal_saves_the_state_that_resuming_starts_from(data, through, tmp_path, monkeypatch):
    log = Metrics.log

    def interrupted(self, step, values, **more):
        if step == 3:
            signal.raise_signal(signal.SIGTERM)
        return log(self, step, values, **more)

    monkeypatch.setattr(Metrics, "log", interrupted)
    with pytest.raises(InterruptedTraining, match="stopped by SIGTERM after step 4; the state is saved"):
        train(settings(data, tmp_path))
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["step-00000002", "step-00000004"]
    monkeypatch.setattr(Metrics, "log", log)
    train(settings(data, tmp_path, {"num_workers": 1}), resume=True)
    assert curve(tmp_path) == curve(through[0].out)


def test_finished_training_is_only_gone_on_with_when_asked(data, through):
    config, result = through
    with pytest.raises(UsageError, match=f"holds a training at step {STEPS}; resume it, or name another folder"):
        train(config)
    with pytest.raises(UsageError, match=f"holds a training at step {STEPS}, steps is 2; ask for more"):
        train(config.model_copy(update={"steps": 2}), resume=True)
    assert train(config, resume=True) == result


def test_training_under_other_settings_is_not_resumed(data, through, tmp_path):
    config, _ = through
    with pytest.raises(UsageError, match=r"cannot be resumed: learning_rate was 0.0002 and is 0.5; name another"):
        train(config.model_copy(update={"learning_rate": 0.5}), resume=True)
    with pytest.raises(UsageError, match="global_batch was 2 and is 3"):
        train(settings(data, config.out, {"batch_size": 3}), resume=True)
    other = write_dataset(tmp_path / "other", (3, 4, 2, 2))
    with pytest.raises(UsageError, match=r"dataset was 'sha256:.*' and is 'sha256:"):
        train(config.model_copy(update={"data": str(other)}), resume=True)


def test_loss_that_is_no_number_stops_the_training_with_its_step(data, tmp_path, monkeypatch):
    from trainer.recipes.iedit.recipe import IEditObjective

    loss = IEditObjective.loss

    def broken(self, batch, draws):
        total, parts = loss(self, batch, draws)
        return (total * float("nan"), parts) if "00005" in batch.keys else (total, parts)

    monkeypatch.setattr(IEditObjective, "loss", broken)
    config = settings(data, tmp_path, global_loss=False, local_loss=False, perceptual_loss=False, steps=12)
    with pytest.raises(NotFiniteError, match=r"step \d+: the loss is not finite \(loss nan, loss/latent \d"):
        train(config)


def test_half_precision_trains_previews_and_saves(data, tmp_path):
    run_on = {"preview_every": 2, "preview_samples": 1, "preview": {"num_steps": 2}, "save_dtype": "float16"}
    result = train(settings(data, tmp_path, run_on, precision="bf16", steps=2))
    assert all(np.isfinite(row["loss"]) for row in curve(tmp_path))
    assert (tmp_path / "previews" / "step-00000002.png").exists()
    assert {tensor.dtype for tensor in weights(result.model).values()} == {torch.float16}
    with pytest.raises(UsageError, match="precision fp16 needs a GPU; use bf16 or no"):
        train(settings(data, tmp_path / "fp16", precision="fp16"))


def test_a_launchers_accumulation_does_not_divide_the_loss_once_more(tmp_path, monkeypatch):
    from trainer.setup import _accelerator

    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert _accelerator(settings("data", tmp_path)).gradient_accumulation_steps == 1
