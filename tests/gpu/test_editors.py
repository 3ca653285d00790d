"""Editors on the GPU: against float32 on the CPU, and through the command. Training steps of an editor."""

import json
import random

import numpy as np
import pytest
from _datasets import write_dataset
from PIL import Image
from typer.testing import CliRunner

from models.placement import Placement
from models.protocols import EditRequest
from models.registry import editor_settings, load
from zoo.world import render, sample_edit, scene_of

SIZE_PX = 64


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A saved editor, after two steps on the GPU from zoo:sd."""
    return train(tmp_path_factory.mktemp("trained"), precision="bf16")


def train(folder, **more):
    from trainer.loop import train as run
    from trainer.recipe import make_recipe
    from trainer.recipes.ip2p.recipe import InstructPix2Pix

    data = write_dataset(folder / "data", (4, 4))
    run_on = {"batch_size": 4, "preview_every": 0, "checkpoint_every": 100, **more.pop("run_on", {})}
    values = {"data": str(data), "model": "zoo:sd", "out": str(folder / "out"), "size_px": SIZE_PX, "steps": 2}
    return run(make_recipe(InstructPix2Pix, {**values, "run_on": run_on, **more}))


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


def requests():
    edits = [sample_edit(scene_of(9, index), random.Random(index)) for index in range(4)]
    return [
        EditRequest(image=Image.fromarray(render(one.source, SIZE_PX)), instruction=one.instruction) for one in edits
    ]


@pytest.mark.parametrize(("dtype", "levels"), [("float32", 2), ("bfloat16", 15), ("float16", 15)])
def test_edits_agree_with_those_of_the_cpu(trained, dtype, levels):
    model = f"path:{trained.model}"
    settings = editor_settings(model)(num_steps=8)
    found = []
    for placed in (Placement(device="cpu", dtype="float32"), Placement(device="cuda", dtype=dtype)):
        editor = load("Editor", model, placed, settings=settings)
        found.append(editor.edit(requests(), seeds=range(4)))
    apart = [
        np.abs(np.asarray(one, float) - np.asarray(other, float)).mean() for one, other in zip(*found, strict=True)
    ]
    assert np.mean(apart) < levels


def test_the_command_edits_on_the_gpu(trained, tmp_path):
    from cli.main import app

    requests()[0].image.save(tmp_path / "scene.png")
    line = ["edit", str(tmp_path / "scene.png"), "make it snow", "--model", f"path:{trained.model}"]
    done = CliRunner().invoke(app, [*line, "--device", "cuda", "--out", str(tmp_path / "out"), "--set", "num_steps=4"])
    assert done.exit_code == 0, done.output
    assert [Image.open(path).size for path in (tmp_path / "out").glob("*.png")] == [(SIZE_PX, SIZE_PX)]


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_first_losses_are_those_of_the_cpu(tmp_path, precision):
    train(tmp_path / "gpu", precision=precision)
    train(tmp_path / "cpu", run_on={"device": "cpu"})
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=0.02)


def test_a_compiled_unet_gives_the_same_losses(tmp_path):
    train(tmp_path / "plain")
    train(tmp_path / "compiled", run_on={"compile_unet": True})
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=0.01)
