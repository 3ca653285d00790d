"""Trainings on two datasets with weights, in buckets, with flips, regions and latents that only some samples have."""

import json
import os
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from _killed_trainings import curve, kill_at_step
from _mixed_recipe import LATENTS, Mixed, MixedObjective, write_mixed

from cli.exits import run
from cli.main import app
from core.errors import DatasetError, UsageError
from trainer.data import Loader
from trainer.datasets import read_datasets
from trainer.decode import Decoder
from trainer.draws import Draws
from trainer.loop import train
from trainer.metrics import read_metrics
from trainer.recipe import make_recipe
from trainer.setup import set_up

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
NAME = "_mixed_recipe:Mixed"
STEPS = 300
RUN_ON = {"batch_size": 6, "device": "cpu", "checkpoint_every": 2, "preview_every": 0}
MORE = {"data_weights": [2.0, 1.0], "aspect_buckets": True, "seed": 5, "shuffle_block": 3}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return (
        write_mixed(folder / "free", (9, 6, 7, 8), has_region=False, name="free"),
        write_mixed(folder / "region", (5, 6), has_region=True, name="region"),
    )


def settings(data, out, run_on=None, **more):
    return make_recipe(Mixed, {"data": list(data), "out": out, **MORE, "run_on": {**RUN_ON, **(run_on or {})}, **more})


def start(data, out, steps, variables=None, **run_on):
    pairs = MORE | {"steps": steps} | {f"run_on.{key}": value for key, value in {**RUN_ON, **run_on}.items()}
    line = [sys.executable, "-m", "cli.train", f"--recipe={NAME}", f"--out={out}", *(f"--data={one}" for one in data)]
    line += [f"--set={key}={json.dumps(value)}" for key, value in pairs.items()]
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"} | (variables or {})
    return subprocess.Popen(line, cwd=ROOT, env=env)


def test_killed_training_on_mixed_data_resumes_to_the_same_curve(data, tmp_path):
    process = start(data, tmp_path / "killed", STEPS)
    kill_at_step(process, tmp_path / "killed", steps=7)
    killed_at = len(read_metrics(tmp_path / "killed"))
    assert killed_at < STEPS
    steps = killed_at + 20
    train(settings(data, tmp_path / "killed", steps=steps), resume=True)
    train(settings(data, tmp_path / "through", steps=steps))
    assert curve(tmp_path / "killed") == curve(tmp_path / "through")
    models = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("killed", "through")]
    assert models[0] == models[1]


def test_two_processes_train_on_mixed_data_as_one_with_twice_the_batch(data, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    group = {name: str(value) for name, value in group.items()} | {"ACCELERATE_USE_CPU": "true"}
    processes = [
        start(data, tmp_path / "two", 12, {**group, "RANK": str(rank), "LOCAL_RANK": str(rank)}, num_workers=1)
        for rank in range(2)
    ]
    assert [process.wait(200) for process in processes] == [0, 0]
    for name, run_on in (("twice the batch", {"batch_size": 12}), ("two batches a step", {"accumulate": 2})):
        train(settings(data, tmp_path / name, run_on, steps=12))
        for row, expected in zip(curve(tmp_path / "two"), curve(tmp_path / name), strict=True):
            assert row == pytest.approx(expected, rel=2e-5, abs=1e-6)


def test_step_in_buckets_has_the_mean_gradient_over_its_samples(data, tmp_path):
    recipe = settings(data, tmp_path, {"batch_size": 16}, steps=1, max_grad_norm=None)
    objective = set_up(recipe, resume=False).objective  # the first weights, which the seed decides
    decoder = Decoder(
        size_px=32, required=Mixed.reads, optional=Mixed.reads_if_present, arrays=(LATENTS,), filled=Mixed.filled,
        sided_texts=Mixed.sided_texts, aspect_buckets=True,
    )  # fmt: skip
    single = recipe.model_copy(update={"run_on": recipe.run_on.model_copy(update={"batch_size": 1})})
    loader = Loader(read_datasets(recipe), decoder, single, rank=0, num_ranks=1)
    batches = list(islice(loader.batches(), 16))
    assert len({batch["target_image"].shape for batch in batches}) > 3
    objective.modules["network"].requires_grad_(True)
    losses = torch.stack([objective.loss(batch, Draws(5, batch.number_B))[0] for batch in batches])
    losses.mean().backward()
    squares = [parameter.grad.square().sum() for parameter in objective.modules["network"].parameters()]
    train(recipe)
    (row,) = curve(tmp_path)
    assert row["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert row["grad_norm"] == pytest.approx(torch.stack(squares).sum().sqrt().item(), rel=1e-5)


def test_steps_see_the_same_samples_with_and_without_buckets(data, tmp_path):
    seen = []
    for name, is_on in (("with", True), ("without", False)):
        setup = set_up(settings(data, tmp_path / name, aspect_buckets=is_on), resume=False)
        found, batches = [], setup.loader.batches(3)
        while len(found) < 24:
            batch = next(batches)
            found += zip(batch.number_B.tolist(), batch.keys, strict=True)
        seen.append(sorted(found))
    assert seen[0] == seen[1]


def test_metrics_and_result_name_all_datasets(data, tmp_path):
    result = train(settings(data, tmp_path, steps=4))
    assert curve(tmp_path)[-1].items() >= {"epoch": 24 / 41, "epoch/free": 16 / 30, "epoch/region": 8 / 11}.items()
    reported = json.loads((result.model / "editloom.json").read_text())
    assert reported["dataset"]["name"] == "free + region"
    assert reported["dataset"]["num_samples"] == 41
    assert [(one["name"], one["share"]) for one in reported["datasets"]] == [("free", 2 / 3), ("region", 1 / 3)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data_weights": [1.0, 1.0]}, r"data_weights was \[2.0, 1.0\] and is \[1.0, 1.0\]"),
        ({"aspect_buckets": False}, r"aspect_buckets was True and is False"),
        ({"is_reversed": True}, "dataset was 'sha256:.*' and is 'sha256:"),
    ],
)
def test_training_is_not_resumed_on_other_data(data, tmp_path, change, message):
    train(settings(data, tmp_path, steps=2))
    data = data[::-1] if change.pop("is_reversed", False) else data
    with pytest.raises(UsageError, match=f"cannot be resumed: {message}"):
        train(settings(data, tmp_path, steps=4, **change), resume=True)


def test_dataset_without_a_column_is_refused_before_models_load(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Mixed, "open", lambda *_: pytest.fail("the models were loaded"))
    monkeypatch.setattr(Mixed, "needs_columns", lambda _: ("source_caption",))
    with pytest.raises(DatasetError, match=r"dataset 'free' .* has no source_caption, which recipe mixed needs"):
        train(settings(data, tmp_path))
    arguments = ["train", "--recipe", NAME, "--out", str(tmp_path), *(f"--data={one}" for one in data)]
    assert run(app, arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_mask_that_no_dataset_has_is_filled(data, tmp_path, monkeypatch):
    shares = []
    loss = MixedObjective.loss

    def noted(self, batch, draws):
        shares.extend(batch["region_mask_png"].mean((1, 2, 3)).tolist())
        return loss(self, batch, draws)

    monkeypatch.setattr(MixedObjective, "loss", noted)
    train(settings(data, tmp_path, steps=6))
    assert shares.count(1.0) == 24
    assert all(0.4 < share < 0.6 for share in shares if share != 1.0)
