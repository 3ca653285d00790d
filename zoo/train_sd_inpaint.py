"""Trains zoo:sd-inpaint, a StableDiffusionInpaintPipeline: zoo:sd's UNet with five more input channels, fine-tuned.

The further channels hold the mask and the latents of the image with the hole greyed out, as Stable Diffusion's own
inpainting checkpoint has it; their weights start at zero. Text encoder and autoencoder stay as they are.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionInpaintPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from zoo.batches import pixels
from zoo.export import export, fingerprint_of, folder_of, share
from zoo.latents import LATENT_PX, cache_path, encode, scene_latents, training_scene
from zoo.train_sd import Trained, prompt
from zoo.training import Training, device, train
from zoo.world import SIZE_PX, Scene, boxes, thing_masks

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

NUM_SCENES = 16_000
THING_FRAC = 0.7
MARGIN_PX = (2, 6)
TRAINING = Training("sd-inpaint", num_steps=1200, batch_size=32, learning_rate=5e-4, muon_rate=0.0025, ema=0.995)


def hole_of(scene: Scene, rng: random.Random) -> npt.NDArray[np.bool_]:
    """A hole (64, 64): the box of a thing and a margin, or any rectangle."""
    hole = np.zeros((SIZE_PX, SIZE_PX), dtype=bool)
    if rng.random() < THING_FRAC:
        x0, y0, x1, y1 = boxes(thing_masks(scene))[rng.randrange(len(scene.things))].astype(int)
        left, top, right, bottom = (rng.randint(*MARGIN_PX) for _ in range(4))
        hole[max(y0 - top, 0) : y1 + bottom, max(x0 - left, 0) : x1 + right] = True
        return hole
    width, height = rng.randint(16, SIZE_PX), rng.randint(16, SIZE_PX)
    x0, y0 = rng.randint(0, SIZE_PX - width), rng.randint(0, SIZE_PX - height)
    hole[y0 : y0 + height, x0 : x0 + width] = True
    return hole


def holed_latents(vae: AutoencoderKL, count: int) -> Tensor:
    """Mask and latents of the holed image, (count, 5, 16, 16), kept in runs/zoo for the next call."""
    path = cache_path(vae, f"holed-{count}")
    if path.exists():
        return load_file(path)["holed"].float()
    torch.manual_seed(1)
    parts = []
    for start in range(0, count, 256):
        scenes = [training_scene(index) for index in range(start, min(start + 256, count))]
        holes = np.stack([hole_of(scene, random.Random(f"hole/{start + row}")) for row, scene in enumerate(scenes)])
        hole_B1HW = torch.from_numpy(holes)[:, None].float()
        small_B1HW = torch.nn.functional.interpolate(hole_B1HW, size=(LATENT_PX, LATENT_PX))
        masked = encode(vae, pixels(scenes) * (hole_B1HW < 0.5)).cpu()
        parts.append(torch.cat([small_B1HW, masked], dim=1))
    holed = torch.cat(parts)
    save_file({"holed": holed.half()}, path)
    return holed


def start_from_sd(trained: Trained) -> None:
    """Copies zoo:sd's weights. The channels it does not have begin at zero."""
    sd = UNet2DConditionModel.from_pretrained(
        folder_of("sd"), subfolder="unet", dtype=torch.float32, use_safetensors=True
    )
    weights = sd.state_dict()
    narrow = weights["conv_in.weight"]
    wide = torch.zeros(len(narrow), 9, *narrow.shape[2:])
    wide[:, :4] = narrow
    trained.unet.load_state_dict(weights | {"conv_in.weight": wide})
    text = CLIPTextModel.from_pretrained(
        folder_of("sd"), subfolder="text_encoder", dtype=torch.float32, use_safetensors=True
    )
    trained.text_encoder.load_state_dict(text.state_dict())
    trained.text_encoder.requires_grad_(requires_grad=False)


def losses(trained: Trained, latents: Tensor, holed: Tensor, training: Training, step: int) -> dict[str, Tensor]:
    """One batch of scenes with their holes and prompts."""
    rng = training.rng(step)
    chosen = [rng.randrange(len(holed)) for _ in range(training.batch_size)]
    prompts = [prompt(training_scene(index), rng) for index in chosen]
    return {"noise": trained.loss(latents[chosen].to(device()), prompts, holed[chosen].to(device()))}


def main(training: Training = TRAINING) -> None:
    """Trains on zoo/weights/sd and exports to zoo/weights/sd-inpaint."""
    vae = AutoencoderKL.from_pretrained(folder_of("sd"), subfolder="vae", dtype=torch.float32, use_safetensors=True)
    vae = vae.to(device()).eval()
    latents, holed = scene_latents(vae, NUM_SCENES), holed_latents(vae, NUM_SCENES)
    training = replace(training, base=fingerprint_of("sd"))
    torch.manual_seed(training.seed)
    trained = Trained(in_channels=9)
    start_from_sd(trained)
    trained = trained.to(device())
    train(training, trained, lambda step: losses(trained, latents, holed, training, step))
    pipeline = StableDiffusionInpaintPipeline(
        vae=vae, text_encoder=trained.text_encoder, tokenizer=trained.tokenizer, unet=trained.unet,
        scheduler=trained.noise, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    export("sd-inpaint", pipeline.to(dtype=torch.float16))
    share("sd-inpaint", "sd")


if __name__ == "__main__":
    main()
