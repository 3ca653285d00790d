import dataclasses
import json

import pytest
import torch
from torch import nn

from zoo import training as loop
from zoo.training import Training, train

SETTINGS = Training("toy", num_steps=12, batch_size=4, learning_rate=1e-2, muon_rate=1e-2, ema=0.9)


class Toy(nn.Module):
    """A numbered block, whose matrix is Muon's, and a head, which is AdamW's."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(6, 6)])
        self.head = nn.Linear(6, 1)

    def losses(self, step):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        return {"error": (self.head(torch.tanh(self.layers[0](x)))[:, 0] - x.sum(1)).square().mean()}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr(loop, "LOG_EVERY", 1)


def test_a_training_that_was_cut_off_resumes_to_the_same_weights(tmp_path, monkeypatch):
    whole = Toy()
    train(SETTINGS, whole, whole.losses)
    (tmp_path / "toy-seed1" / "checkpoint.safetensors").unlink()
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY_S", 0.0)
    first = Toy()

    def cut_off(step):
        if step == 5:
            raise KeyboardInterrupt
        return first.losses(step)

    with pytest.raises(KeyboardInterrupt):
        train(SETTINGS, first, cut_off)
    second = Toy()
    seen = []
    train(SETTINGS, second, lambda step: seen.append(step) or second.losses(step))
    assert seen == list(range(5, 12))
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_finished_training_is_taken_from_its_checkpoint():
    first, second = Toy(), Toy()
    train(SETTINGS, first, first.losses)
    train(SETTINGS, second, lambda _: pytest.fail("trained again"))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_the_loss_falls_and_the_curve_is_written(tmp_path):
    settings = dataclasses.replace(SETTINGS, num_steps=400, learning_rate=5e-2, ema=0.0)
    toy = Toy()
    train(settings, toy, toy.losses)
    curve = [json.loads(line) for line in (tmp_path / "toy-seed1" / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in curve] == list(range(1, 401))
    assert sum(row["error"] for row in curve[-5:]) < 0.1 * sum(row["error"] for row in curve[:5])


def test_other_settings_do_not_go_on_from_a_checkpoint():
    toy = Toy()
    train(SETTINGS, toy, toy.losses)
    with pytest.raises(ValueError, match="was written under other settings"):
        train(dataclasses.replace(SETTINGS, learning_rate=1.0), Toy(), toy.losses)


def test_rate_warms_up_and_ends_at_a_hundredth():
    settings = Training("x", num_steps=100, batch_size=1, learning_rate=1.0, warmup_frac=0.1)
    assert settings.rate_frac(0) == pytest.approx(0.1)
    assert settings.rate_frac(10) == pytest.approx(1.0)
    assert settings.rate_frac(100) == pytest.approx(0.01)


def test_data_of_a_step_depend_on_seed_and_step_alone():
    assert SETTINGS.rng(3).random() == SETTINGS.rng(3).random()
    assert SETTINGS.rng(3).random() != dataclasses.replace(SETTINGS, seed=2).rng(3).random()
