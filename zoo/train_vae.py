"""Trains the autoencoder of zoo:sd and zoo:sd-inpaint: 64 px images to 16 x 16 x 4 latents and back."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL
from torch import nn

from zoo.batches import draw, held_out, pixels
from zoo.training import Training, device, train
from zoo.world import SIZE_PX, Scene

if TYPE_CHECKING:
    from torch import Tensor

TRAINING = Training("vae", num_steps=3000, batch_size=16, learning_rate=2e-3, muon_rate=0.005, ema=0.995, autocast=True)
KL_WEIGHT = 1e-5
EDGE_WEIGHT = 1.0
CROP_PX = 32
CROPS_AN_IMAGE = 2
CROPPED_FRAC = 0.8
NEAR_THING_FRAC = 0.8


def build() -> AutoencoderKL:
    """An AutoencoderKL with random weights: factor 4, 4 latent channels, 0.8 M parameters."""
    blocks = ("DownEncoderBlock2D",) * 3, ("UpDecoderBlock2D",) * 3
    return AutoencoderKL(
        down_block_types=blocks[0], up_block_types=blocks[1], block_out_channels=(24, 48, 64), layers_per_block=1,
        latent_channels=4, norm_num_groups=8, mid_block_add_attention=False, sample_size=SIZE_PX,
    )  # fmt: skip


def crops(scenes: list[Scene], rng: random.Random) -> Tensor:
    """Squares of 32 px, most of them around a thing: (B, 3, 32, 32).

    Backgrounds are few and soon learnt. The network is convolutional, so that it learns things from crops at a quarter
    of the cost; whole images at the end settle its group normalisation.
    """
    corners = []
    for scene in scenes:
        thing = rng.choice(scene.things)
        x = thing.x_frac * SIZE_PX if rng.random() < NEAR_THING_FRAC else rng.uniform(0, SIZE_PX)
        y = (thing.bottom_frac - thing.size_frac / 2) * SIZE_PX
        corners.append([round(centre + rng.uniform(-6, 6)) - CROP_PX // 2 for centre in (y, x)])
    whole = pixels(scenes)
    inside = [[min(max(corner, 0), SIZE_PX - CROP_PX) for corner in pair] for pair in corners]
    cut = [image[:, y : y + CROP_PX, x : x + CROP_PX] for image, (y, x) in zip(whole, inside, strict=True)]
    return torch.stack(cut)


def losses(vae: AutoencoderKL, training: Training, step: int) -> dict[str, Tensor]:
    """L1, L1 of the differences between neighbours (edges stay sharp) and a weak KL to the unit normal."""
    rng = training.rng(step)
    if step < CROPPED_FRAC * training.num_steps:
        image_BCHW = crops(draw(rng, CROPS_AN_IMAGE * training.batch_size), rng).to(device())
    else:
        image_BCHW = pixels(draw(rng, training.batch_size)).to(device())
    posterior = vae.encode(image_BCHW).latent_dist
    drawn_BCHW = vae.decode(posterior.sample()).sample.float()
    edges = sum(nn.functional.l1_loss(drawn_BCHW.diff(dim=d), image_BCHW.diff(dim=d)) for d in (2, 3))
    return {
        "l1": nn.functional.l1_loss(drawn_BCHW, image_BCHW),
        "edges": EDGE_WEIGHT * edges,
        "kl": KL_WEIGHT * posterior.kl().float().mean(),
    }


@torch.no_grad()
def set_scaling(vae: AutoencoderKL) -> None:
    """Sets `scaling_factor` so that latents of the world have standard deviation 1."""
    latent = vae.encode(pixels(held_out(256, seed=random.Random("scaling").randrange(2**20))).to(device())).latent_dist
    vae.register_to_config(scaling_factor=round(1 / float(latent.sample().std()), 5))


def trained(training: Training = TRAINING) -> AutoencoderKL:
    """The trained autoencoder, in fp32. It is trained first when there is no finished checkpoint."""
    torch.manual_seed(training.seed)
    vae = build().to(device())
    train(training, vae, lambda step: losses(vae, training, step))
    set_scaling(vae)
    return vae.eval()


if __name__ == "__main__":
    trained()
