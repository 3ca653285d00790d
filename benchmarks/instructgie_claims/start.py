"""The common start: a text-to-image model that has seen grids.

Stable Diffusion 1.5 has seen grids of images on the web; zoo:sd has seen none. So the UNet of an early editor, without
its input for the source, is trained with a control network of convolutions on grids of scenes of its own. Its control
network is thrown away: every cell begins with a new one.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from benchmarks.instructgie_claims.settings import START_SEED
from models.diffusion.editor_kinds import CONTROL_FOLDER
from models.diffusion.visual_prompt.editor_file import EDITOR_FILE
from models.model_ids import find
from trainer.diffusion.checkpoint import INDEX, TEXT_TO_IMAGE
from zoo.dataset_shards import write_shards
from zoo.write_visual_prompts import PromptOrder, samples_of

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.instructgie_claims.settings import Numbers

SAMPLES_PER_SHARD = 50


def start_folder(out: Path) -> Path:
    """Where the common start is, a StableDiffusionPipeline."""
    return out / "start" / "pipeline"


def make_start(out: Path, numbers: Numbers) -> None:
    """Train the common start, unless it is there; a stopped training resumes."""
    from trainer.loop import train
    from trainer.recipe import make_recipe
    from trainer.recipes import find_recipe

    folder = start_folder(out)
    if folder.is_dir():
        return
    base, data = out / "start" / "base", out / "start" / "data"
    if not base.is_dir():
        write_base(base, numbers.start)
    order = PromptOrder(
        seed=START_SEED, num_requests=numbers.start_requests, pairs_per_request=numbers.pairs_per_request,
        size_px=numbers.cell_px,
    )  # fmt: skip
    write_shards(data, "grids", samples_of(order), SAMPLES_PER_SHARD)
    settings = {
        "data": str(data), "model": f"path:{base}", "out": out / "start" / "training", "steps": numbers.start_steps,
        "size_px": numbers.cell_px, "trained": "unet", "hint_encoder": "conv", "zero_layers": "conv", "unified": False,
        "lambda_shift": 0.0, "lambda_selective": 0.0, **numbers.shared, **numbers.start_training,
        "run_on": {"batch_size": numbers.batch_size, "preview_every": 0, "checkpoint_every": 200,
                   "keep_checkpoints": 1},
    }  # fmt: skip
    result = train(make_recipe(find_recipe("instructgie"), settings), resume=True)
    _without_control(result.model, folder)


def write_base(folder: Path, editor: str) -> None:
    """The parts of an instruction editor as a text-to-image pipeline: its UNet takes the noisy latent alone."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    location = find(editor).location
    load: Any = StableDiffusionPipeline.from_pretrained
    pipeline = load(location, dtype=torch.float32, use_safetensors=True, local_files_only=True)
    wide = pipeline.unet
    channels = wide.config.out_channels
    unet: Any = UNet2DConditionModel.from_config({**wide.config, "in_channels": channels})
    weights = wide.state_dict()
    weights["conv_in.weight"] = weights["conv_in.weight"][:, :channels].clone()
    unet.load_state_dict(weights)
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
    narrow: Any = StableDiffusionPipeline(**{**pipeline.components, "unet": unet, "scheduler": scheduler})
    temporary = folder.with_name(f"{folder.name}.new")
    narrow.save_pretrained(temporary, safe_serialization=True)
    temporary.rename(folder)


def _without_control(model: Path, folder: Path) -> None:
    """Copy the pipeline of a result, without its control network, as a text-to-image model."""
    temporary = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(model, temporary, ignore=shutil.ignore_patterns(CONTROL_FOLDER, EDITOR_FILE))
    index = json.loads((temporary / INDEX).read_text(encoding="utf-8"))
    (temporary / INDEX).write_text(json.dumps({**index, "_class_name": TEXT_TO_IMAGE}, indent=2), encoding="utf-8")
    temporary.rename(folder)
