"""The state that a training begins or resumes from, before any model is loaded."""

import json
import re

import pytest
import torch
from _datasets import write_dataset

from core.errors import DatasetError, MissingDependencyError, TrainingError, UsageError
from trainer.checkpoint import save_checkpoint
from trainer.recipe import make_recipe
from trainer.recipes import find_recipe
from trainer.setup import CHECKPOINTS, SAVED, _check_same, _checkpoint, _saved, set_up

TENSORS = {"weight/a": torch.ones(3)}
STATE = {
    "recipe": "r", "config": {}, "dataset": "sha256:x", "global_batch": 1, "models": {}, "streams": 1,
    "average_steps": 0, "scaler": None,
}  # fmt: skip


def config(out, **more):
    given = {"data": "d", "model": "zoo:sd", "out": out, "run_on": {"device": "cpu"}}
    return make_recipe(find_recipe("iedit"), {**given, **more})


def test_state_with_everything_that_is_saved_is_taken(tmp_path):
    assert _saved(save_checkpoint(tmp_path, 7, TENSORS, STATE, keep=2)) == {**STATE, "step": 7}


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("value", [None, "absent", [], True])
def test_state_that_lacks_something_is_refused_in_one_line(tmp_path, name, value):
    state = {key: kept for key, kept in STATE.items() if key != name} if value == "absent" else {**STATE, name: value}
    folder = save_checkpoint(tmp_path, 7, TENSORS, state, keep=2)
    with pytest.raises(TrainingError) as caught:
        _saved(folder)
    assert str(caught.value) == (
        f"checkpoint {folder} cannot be read (state.json has no {name}, or another than a training writes); "
        "remove it to resume from the one before"
    )


def test_training_is_not_resumed_from_flipped_bytes(tmp_path):
    for step in (2, 4):
        folder = save_checkpoint(tmp_path / CHECKPOINTS, step, TENSORS, STATE, keep=2)
    tensors = folder / "state.safetensors"
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(
        TrainingError, match=r"step-00000004 cannot be read \(state.safetensors is not what was written"
    ):
        _checkpoint(config(tmp_path), resume=True)
    with pytest.raises(UsageError, match="holds a training at step 4; resume it"):
        _checkpoint(config(tmp_path), resume=False)


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"recipe": "s"}, "recipe was 'r' and is 's'"),
        ({"config": {"seed": 1}}, "seed was 0 and is 1; weight was 2 and is None"),
        ({"config": {"seed": 0, "weight": 2, "new": True}}, "new was None and is True"),
        ({"models": {"zoo:sd": "other"}}, "models was {} and is {'zoo:sd': 'other'}"),
    ],
)
def test_checkpoint_of_another_training_is_not_resumed(tmp_path, now, message):
    saved = {**STATE, "config": {"seed": 0, "weight": 2}}
    identity = {key: saved[key] for key in ("recipe", "config", "dataset", "models", "global_batch")}
    _check_same(saved, identity, tmp_path)
    with pytest.raises(UsageError, match=re.escape(f"cannot be resumed: {message}; name another folder")):
        _check_same(saved, {**identity, **now}, tmp_path)


def test_training_is_not_begun_on_tars_of_another_size(tmp_path):
    folder = write_dataset(tmp_path / "data", (1,), lambda _: {"json": b"{}"})
    listed = json.loads((folder / "shards.json").read_text())
    listed["shards"][0]["bytes"] += 1
    (folder / "shards.json").write_text(json.dumps(listed))
    with pytest.raises(DatasetError, match=r"00000.tar has 10240 bytes, shards.json says 10241"):
        set_up(config(tmp_path / "out", data=str(folder)), resume=False)


def test_all_models_that_are_missing_are_named_at_once(tmp_path):
    folder = write_dataset(tmp_path / "data", (1,))
    models = {"model": "zoo:sdd", "clip_model": "zoo:clipp", "perceptual_model": "zoo:dino"}
    with pytest.raises(MissingDependencyError, match=r"'zoo:sdd' .*; no model is called 'zoo:clipp'"):
        set_up(config(tmp_path / "out", data=str(folder), **models), resume=False)


def test_one_command_gets_all_models_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = write_dataset(tmp_path / "data", (1,))
    one, two = (f"hf:owner/{name}@{'0' * 40}" for name in ("one", "two"))
    models = {"model": "zoo:sd", "clip_model": one, "perceptual_model": two}
    with pytest.raises(MissingDependencyError, match=f"2 things are missing; `editloom fetch {one} {two}` gets them: "):
        set_up(config(tmp_path / "out", data=str(folder), **models), resume=False)
