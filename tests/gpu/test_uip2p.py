"""Trainings of UIP2P on the GPU: the losses of the CPU, in each precision, with adapters and with both additions."""

import json

import pytest
from _cycle_edits import reversed_members
from _datasets import write_dataset

EXTRAS = {"identity_loss": True, "clean_cycle_condition": True, "clean_steps": 2}


def first_rows(folder, **more):
    """Metrics of two steps, a row each."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes.uip2p.recipe import Uip2p

    data = write_dataset(folder / "data", (4, 4), reversed_members)
    run_on = {"batch_size": 4, "preview_every": 0, "checkpoint_every": 100, **more.pop("run_on", {})}
    values = {
        "data": str(data), "model": "zoo:ip2p-early", "clip_model": "zoo:clip", "out": str(folder / "out"),
        "size_px": 64, "steps": 2,
    }  # fmt: skip
    train(make_recipe(Uip2p, {**values, "run_on": run_on, **more}))
    return [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
@pytest.mark.parametrize("more", [{}, EXTRAS, {"trained": "lora"}])
def test_first_losses_are_those_of_the_cpu(tmp_path, precision, more):
    found = first_rows(tmp_path / "gpu", precision=precision, **more)
    expected = first_rows(tmp_path / "cpu", run_on={"device": "cpu"}, **more)
    for one, other in zip(found, expected, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.03)


def test_gradient_checkpointing_gives_the_same_losses(tmp_path):
    plain = first_rows(tmp_path / "plain")
    saving = first_rows(tmp_path / "saving", run_on={"gradient_checkpointing": True})
    assert [one["loss"] for one in saving] == pytest.approx([one["loss"] for one in plain], rel=1e-3)
