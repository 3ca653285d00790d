"""Trainings of region heads on the GPU: the losses of the CPU in each precision, previews, and edits by the result."""

import json

import numpy as np
import pytest
from _cycle_edits import reversed_members
from _datasets import write_dataset
from PIL import Image


def first_rows(folder, **more):
    """Metrics of two steps, a row each."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes.regions.recipe import Regions

    data = write_dataset(folder / "data", (4, 4), reversed_members)
    run_on = {"batch_size": 4, "preview_every": 1, "preview_samples": 2, "checkpoint_every": 100,
              "preview": {"num_steps": 1, "guidance_scale": 1.0}, **more.pop("run_on", {})}  # fmt: skip
    values = {
        "data": str(data), "clip_model": "zoo:clip", "generator": "zoo:sd-inpaint", "generator_steps": 2,
        "generated": "whole", "num_heads": 4, "out": str(folder / "out"), "size_px": 64, "steps": 2,
    }  # fmt: skip
    train(make_recipe(Regions, {**values, "run_on": run_on, **more}))
    return [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_first_losses_are_those_of_the_cpu(tmp_path, precision):
    found = first_rows(tmp_path / "gpu", precision=precision)
    expected = first_rows(tmp_path / "cpu", run_on={"device": "cpu"})
    for one, other in zip(found, expected, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.15)  # half precision moves the edge of a mask


def test_result_edits_on_the_gpu_in_half_precision(tmp_path, half):
    from models.placement import Placement
    from models.protocols import EditRequest
    from models.regions.settings import RegionEditorSettings
    from models.registry import load

    first_rows(tmp_path)
    settings = RegionEditorSettings(num_steps=2, when_empty="unchanged")
    editor = load("Editor", f"path:{tmp_path / 'out' / 'model'}", Placement(dtype=half), settings=settings)
    image = Image.effect_noise((80, 64), 90).convert("RGB")
    request = EditRequest(image=image, instruction="make the car red", target_caption="a red car")
    (found,) = editor.edit([request], seeds=[1])
    assert found.size == image.size
    assert np.isfinite(np.asarray(found, float)).all()
