"""Both sides of the benchmark of a training step, for one step."""

import math

import pytest
import torch

from benchmarks.train_step.data import write_data
from benchmarks.train_step.ours import open_ours
from benchmarks.train_step.run import missed
from benchmarks.train_step.side import Task
from benchmarks.train_step.theirs import Loop
from trainer.diffusion.checkpoint import Checkpoint
from trainer.diffusion.latents import Latents


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    write_data(folder, "zoo:sd", 64, 4)
    yield folder
    torch.set_num_threads(before)


def task(data, kind, out):
    return Task(data=str(data / kind), out=str(out), model="zoo:sd", size_px=64, batch_size=2, threads=1)


def test_with_caches_nothing_is_encoded(data, tmp_path, monkeypatch):
    step = open_ours(task(data, "cached", tmp_path / "out"))

    def refuse(*_):
        raise AssertionError("encoded")

    monkeypatch.setattr(Latents, "encode", refuse)
    monkeypatch.setattr(Checkpoint, "encode_texts", refuse)
    step()
    without = open_ours(task(data, "plain", tmp_path / "other"))
    with pytest.raises(AssertionError, match="encoded"):
        without()


def test_the_other_loop_changes_the_widened_unet(data, tmp_path):
    torch.manual_seed(0)
    loop = Loop(task(data, "plain", tmp_path / "out"))
    weight = loop._unet.conv_in.weight
    assert weight.shape[1] == 8
    before = weight.detach().clone()
    assert 0 < loop.step() < 10
    assert not torch.equal(before[:, 4:], weight[:, 4:])
    assert math.isfinite(loop.step())


def test_a_ratio_below_the_bar_is_a_miss_where_the_bar_stands():
    sides = {"ours, caches": {"samples_per_s": 14.0}, "diffusers' loop": {"samples_per_s": 10.0}}
    results = {"zoo:sd": {"sides": sides}, "sd15-quarter": {"sides": sides}}
    assert missed(results) == ["sd15-quarter, ours, caches: 1.40 times the other loop, the bar is 1.5"]
