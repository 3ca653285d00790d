"""Trains the autoencoder of zoo:ip2p: 64 px images to 16 x 16 x 16 latents and back.

An editor copies most of its source, so things must be recognised after the autoencoder. Of zoo:sd's, with 4 channels,
zoo:blip still reads 6 of 10 scenes rightly. Here latents have 16 channels, and the loss counts the things of a scene
four times.

Source  Rombach et al. 2022, Latent Diffusion; Esser et al. 2024, Stable Diffusion 3, for the 16 channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

from models import registry
from models.placement import Placement
from zoo.batches import draw, pixels
from zoo.export import folder_of, model_id
from zoo.train_vae import CROP_PX, KL_WEIGHT, set_scaling
from zoo.training import Training, device, train
from zoo.world import SIZE_PX, Scene, thing_masks

if TYPE_CHECKING:
    import random

    from torch import Tensor

    from models.loss_protocols import PerceptualFeatures

CHANNELS = 16
JITTER_PX = 6
MARGIN_PX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One part of the training: first crops around things, then whole images."""

    training: Training
    cropped_frac: float
    thing_weight: float
    """Further weight of pixels that show a thing."""
    perceptual_weight: float = 0.0
    """Weight of the distance in zoo:dino's features, of whole images only."""


PRACTICE = Training("ip2p-vae-practice", num_steps=1000, batch_size=16, learning_rate=2e-3, ema=0.99)
TRAINING = Training("ip2p-vae", num_steps=1200, batch_size=16, learning_rate=2e-3, muon_rate=0.005, ema=0.99)
REFINEMENT = Training("ip2p-vae-refined", num_steps=1600, batch_size=16, learning_rate=2e-3, muon_rate=0.005, ema=0.99)
PHASES = (
    Phase(training=PRACTICE, cropped_frac=0.7, thing_weight=0.0),
    Phase(training=TRAINING, cropped_frac=0.85, thing_weight=3.0),
    Phase(training=REFINEMENT, cropped_frac=0.5, thing_weight=3.0, perceptual_weight=2.0),
)

# B rows, C channels, H W pixels, h w cells of a feature map


def build() -> AutoencoderKL:
    """zoo:sd's autoencoder with 16 latent channels: its weights where the shapes agree, random ones elsewhere."""
    torch.manual_seed(0)
    old = AutoencoderKL.from_pretrained(folder_of("sd"), subfolder="vae", dtype=torch.float32, use_safetensors=True)
    vae = AutoencoderKL(**{**_settings(old), "latent_channels": CHANNELS})
    weights = vae.state_dict()
    vae.load_state_dict({**weights, **{k: v for k, v in old.state_dict().items() if v.shape == weights[k].shape}})
    return vae


def _settings(vae: AutoencoderKL) -> dict[str, object]:
    return {key: value for key, value in dict(vae.config).items() if not key.startswith("_")}


def images_and_things(scenes: list[Scene]) -> tuple[Tensor, Tensor]:
    """Images (B, 3, 64, 64) from -1 to 1, and (B, 1, 64, 64): 1 where a thing is, two pixels of margin included."""
    things = np.stack([thing_masks(scene).any(0) for scene in scenes])
    thing_B1HW = torch.from_numpy(things)[:, None].float()
    return pixels(scenes), nn.functional.max_pool2d(thing_B1HW, 2 * MARGIN_PX + 1, 1, MARGIN_PX)


def cropped(scenes: list[Scene], rng: random.Random) -> tuple[Tensor, Tensor]:
    """The same, cut to squares of 32 px around a thing of each scene."""
    image_BCHW, thing_B1HW = images_and_things(scenes)
    corners = [_corner(scene, rng) for scene in scenes]
    inside = [(slice(None), slice(y, y + CROP_PX), slice(x, x + CROP_PX)) for y, x in corners]
    cut = [[image[part] for image, part in zip(whole, inside, strict=True)] for whole in (image_BCHW, thing_B1HW)]
    return torch.stack(cut[0]), torch.stack(cut[1])


def _corner(scene: Scene, rng: random.Random) -> tuple[int, int]:
    thing = rng.choice(scene.things)
    x, y = thing.x_frac * SIZE_PX, (thing.bottom_frac - thing.size_frac / 2) * SIZE_PX
    moved = [round(centre + rng.uniform(-JITTER_PX, JITTER_PX)) - CROP_PX // 2 for centre in (x, y)]
    left, top = (min(max(corner, 0), SIZE_PX - CROP_PX) for corner in moved)
    return top, left


def losses(vae: AutoencoderKL, phase: Phase, step: int, perceptual: PerceptualFeatures) -> dict[str, Tensor]:
    """L1, L1 of the differences between neighbours, distance of features, and a weak KL to the unit normal."""
    training = phase.training
    rng = training.rng(step)
    is_cropped = step < phase.cropped_frac * training.num_steps
    image_BCHW, thing_B1HW = (
        cropped(draw(rng, 2 * training.batch_size), rng)
        if is_cropped
        else images_and_things(draw(rng, training.batch_size))
    )
    image_BCHW, weight_B1HW = image_BCHW.to(device()), 1 + phase.thing_weight * thing_B1HW.to(device())
    weight_B1HW = weight_B1HW / weight_B1HW.mean()
    posterior = vae.encode(image_BCHW).latent_dist
    drawn_BCHW = vae.decode(posterior.sample()).sample.float()
    error_BCHW = drawn_BCHW - image_BCHW
    found = {
        "l1": (weight_B1HW * error_BCHW.abs()).mean(),
        "edges": (weight_B1HW[:, :, 1:] * error_BCHW.diff(dim=2).abs()).mean()
        + (weight_B1HW[..., 1:] * error_BCHW.diff(dim=3).abs()).mean(),
        "kl": KL_WEIGHT * posterior.kl().float().mean(),
    }
    if phase.perceptual_weight and not is_cropped:
        found["features"] = phase.perceptual_weight * feature_distance(perceptual, drawn_BCHW, image_BCHW)
    return found


def feature_distance(perceptual: PerceptualFeatures, one_BCHW: Tensor, other_BCHW: Tensor) -> Tensor:
    """Mean squared distance of the feature vectors of two images from -1 to 1, each vector of length 1."""
    one = [torch.nn.functional.normalize(maps, dim=1) for maps in perceptual.features(one_BCHW / 2 + 0.5)]
    with torch.no_grad():
        other = [torch.nn.functional.normalize(maps, dim=1) for maps in perceptual.features(other_BCHW / 2 + 0.5)]
    parts = [(a - b).square().sum(1).mean() for a, b in zip(one, other, strict=True)]
    return torch.stack(parts).mean()


def trained(phases: tuple[Phase, ...] = PHASES) -> AutoencoderKL:
    """The trained autoencoder, in fp32. Phases without a finished checkpoint are trained first."""
    vae = build().to(device())
    where = Placement(device=str(device()), dtype="float32")
    perceptual = registry.load("PerceptualFeatures", model_id("dino"), where)
    for phase in phases:
        train(phase.training, vae, lambda step, phase=phase: losses(vae, phase, step, perceptual))  # type: ignore[misc]
    set_scaling(vae)
    return vae.eval()


if __name__ == "__main__":
    trained()
