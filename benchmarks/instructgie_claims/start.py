"""The starts of the trainings: text-to-image models that have seen captions, and no edit.

Stable Diffusion 1.5 is taken to have seen grids; zoo:sd has seen none, and its autoencoder blurs small scenes. So the
UNet and the text encoder of zoo:sd get the autoencoder of zoo:ip2p, which has seen images alone, with new first and
last layers, and learn to predict the velocity: where a small UNet predicts noise, the clean latent at the noisiest
steps is worse than none. From there one start is trained on grids of four scenes under the caption of the last one, for
the visual-prompt editors, and one on single scenes, for InstructPix2Pix: the same captions and steps. In every second
grid both images of a row are one scene, as in sheets of near-equal pictures.
"""

from __future__ import annotations

import io
import random
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from benchmarks.instructgie_claims.text_to_image import TextToImage
from models.model_ids import find
from samples.members import JSON, member
from samples.shards import SHARD_LIST
from zoo.dataset_shards import write_shards
from zoo.visual_prompts import plain_scene
from zoo.world import caption, render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.instructgie_claims.settings import Numbers

StartName = Literal["grids", "scenes"]
STARTS: tuple[StartName, ...] = ("grids", "scenes")
SAMPLES_PER_SHARD = 100
TEXT_TO_IMAGE = "zoo:sd"
"""Gives the UNet but its first and last layers, the text encoder, and the noise schedule."""


def start_folder(out: Path, name: StartName) -> Path:
    """Where a start is, a StableDiffusionPipeline."""
    return out / "start" / name / "model"


def make_start(out: Path, name: StartName, numbers: Numbers) -> None:
    """Train a start, unless it is there; a stopped training resumes."""
    from trainer.loop import train
    from trainer.recipe import make_recipe

    folder, base = start_folder(out, name).parent, out / "start" / "base"
    if (folder / "model" / "editloom.json").is_file():
        return
    if not base.is_dir():
        write_base(base, numbers.start)
    if not (folder / "data" / SHARD_LIST).is_file():
        write_shards(folder / "data", name, _samples(name, numbers), SAMPLES_PER_SHARD)
    settings = {
        "data": str(folder / "data"), "model": f"path:{base}", "out": folder, "steps": numbers.start_steps,
        "size_px": numbers.cell_px * (2 if name == "grids" else 1), **numbers.start_training,
        "run_on": {"batch_size": numbers.batch_size, "preview_every": 0, "checkpoint_every": 200,
                   "keep_checkpoints": 1},
    }  # fmt: skip
    train(make_recipe(TextToImage, settings), resume=True)


def write_base(folder: Path, autoencoder: str) -> None:
    """The parts of zoo:sd with another autoencoder, new outer layers of the UNet, and a schedule of velocities."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    def load(kind: Any, model_id: str, **more: Any) -> Any:
        return kind.from_pretrained(find(model_id).location, use_safetensors=True, local_files_only=True, **more)

    pipeline: Any = load(StableDiffusionPipeline, TEXT_TO_IMAGE, dtype=torch.float32)
    vae: Any = load(AutoencoderKL, autoencoder, subfolder="vae", torch_dtype=torch.float32)
    channels = vae.config.latent_channels
    torch.manual_seed(0)
    unet: Any = UNet2DConditionModel.from_config(
        {**pipeline.unet.config, "in_channels": channels, "out_channels": channels}
    )
    known = {
        name: one for name, one in pipeline.unet.state_dict().items() if not name.startswith(("conv_in", "conv_out"))
    }
    unet.load_state_dict({**unet.state_dict(), **known})
    sampling = {"prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **sampling)
    parts: Any = StableDiffusionPipeline(**{**pipeline.components, "unet": unet, "vae": vae, "scheduler": scheduler})
    temporary = folder.with_name(f"{folder.name}.new")
    parts.save_pretrained(temporary, safe_serialization=True)
    temporary.rename(folder)


def _samples(name: StartName, numbers: Numbers) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, members) of each image with its caption. Both starts have the same captions, and scenes under them."""
    import json

    for number in range(numbers.start_images):
        rng = random.Random(f"start {number}")
        captioned, *others = (plain_scene(rng, numbers.nouns) for _ in range(4))
        rows = (others[0], others[0], captioned) if number % 2 else others
        scenes = [render(scene, numbers.cell_px) for scene in (*rows, captioned)]
        pixels = scenes[-1]
        if name == "grids":
            pixels = np.concatenate([np.concatenate(scenes[:2], 1), np.concatenate(scenes[2:], 1)])
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        light = {"target_caption": caption(captioned)}
        yield (
            f"{number:06d}",
            {member("target_image").suffix("png"): buffer.getvalue(), JSON: json.dumps(light).encode()},
        )
