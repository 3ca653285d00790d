"""Trains zoo:ip2p, a StableDiffusionInstructPix2PixPipeline, on exact edits of all kinds: text encoder and UNet.

The early checkpoint, zoo:ip2p-early, is the start of trainings that compare datasets. Noise level by noise level the
network predicts v, not epsilon: at high noise, where an editor decides whether it copies or draws anew, an error in
epsilon costs almost nothing, but the same error in v costs as much as one in the clean latent. docs/log.md has the
comparison.

Source  Brooks et al. 2023, InstructPix2Pix: source latents as further input channels, 5/5/5 % of conditions dropped;
        Salimans & Ho 2022 for v.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from diffusers import (
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextModel

from zoo import train_ip2p_vae
from zoo.edit_latents import EditLatents, edit_latents, training_edit
from zoo.export import export, fingerprint_of, folder_of, share
from zoo.tokenizers import CLIP_LENGTH, clip_tokenizer
from zoo.train_sd import build_text_encoder, build_unet, scheduler
from zoo.training import Training, device, train

if TYPE_CHECKING:
    from diffusers import AutoencoderKL
    from torch import Tensor

CHANNELS = train_ip2p_vae.CHANNELS
NUM_EDITS = 24_000
DROPPED_FRAC = 0.05
"""Share of rows without text, without source, and without both: this much each."""
EDIT_WEIGHT = 6.0
EDITED_FROM = 0.02
"""Squared difference of two latent cells, scaled, from which on a cell counts as edited."""
TRAINING = Training("ip2p-early", num_steps=3000, batch_size=8, learning_rate=3e-3, muon_rate=0.006, ema=0.998)
REFINEMENT = replace(TRAINING, name="ip2p", num_steps=10_000, learning_rate=2e-3, muon_rate=0.005, ema=0.999)


class Edits(NamedTuple):
    """The pairs of one batch: unscaled latents (B, C, h, w), instructions."""

    source_BCHW: Tensor
    target_BCHW: Tensor
    instructions: list[str]


class Trained(nn.Module):
    """Text encoder and UNet, trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = clip_tokenizer()
        self.text_encoder = build_text_encoder()
        self.unet = build_unet(2 * CHANNELS, CHANNELS)
        self.noise = DDIMScheduler.from_config(scheduler().config, prediction_type="v_prediction")

    def start_from_sd(self) -> None:
        """Copy zoo:sd's weights, but for the first and the last convolution, whose latents are others."""
        unet = UNet2DConditionModel.from_pretrained(
            folder_of("sd"), subfolder="unet", dtype=torch.float32, use_safetensors=True
        ).state_dict()
        self.unet.load_state_dict(
            {**self.unet.state_dict(), **{k: v for k, v in unet.items() if not k.startswith(("conv_in.", "conv_out."))}}
        )
        text = CLIPTextModel.from_pretrained(
            folder_of("sd"), subfolder="text_encoder", dtype=torch.float32, use_safetensors=True
        )
        self.text_encoder.load_state_dict(text.state_dict())

    def encode_texts(self, texts: list[str]) -> Tensor:
        """Hidden states (B, 32, 128), padded to full length as the pipeline pads."""
        tokens = self.tokenizer(
            texts, padding="max_length", max_length=CLIP_LENGTH, truncation=True, return_tensors="pt"
        )
        hidden: Tensor = self.text_encoder(tokens.input_ids.to(device())).last_hidden_state
        return hidden

    def loss(self, edits: Edits, scale: float) -> Tensor:
        """The squared error of v, with the conditions dropped as the guidance needs it."""
        target_BCHW = edits.target_BCHW * scale
        count = len(target_BCHW)
        chance_B = torch.rand(count)
        texts = [
            "" if chance < 2 * DROPPED_FRAC else text for chance, text in zip(chance_B, edits.instructions, strict=True)
        ]
        is_kept_B = (chance_B < DROPPED_FRAC) | (chance_B >= 3 * DROPPED_FRAC)
        source_BCHW = edits.source_BCHW * is_kept_B.to(target_BCHW.device)[:, None, None, None]
        noise_BCHW = torch.randn_like(target_BCHW)
        num_timesteps = self.noise.config.num_train_timesteps
        timestep_B = (torch.rand(count, device=target_BCHW.device).sqrt() * num_timesteps).long()
        noisy_BCHW = self.noise.add_noise(target_BCHW, noise_BCHW, timestep_B)
        given_BCHW = torch.cat([noisy_BCHW, source_BCHW], dim=1)
        predicted_BCHW = self.unet(given_BCHW, timestep_B, self.encode_texts(texts)).sample
        velocity_BCHW = self.noise.get_velocity(target_BCHW, noise_BCHW, timestep_B)
        error_B1HW = (predicted_BCHW - velocity_BCHW).square().mean(1, keepdim=True)
        loss: Tensor = (error_B1HW * edit_weights(edits.source_BCHW * scale, target_BCHW)).mean()
        return loss


def edit_weights(source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Weights (B, 1, h, w) of the cells of each edit, 1 on average: more where source and target differ.

    An object is a tenth of an image. Without weights most of the loss is about copying, which is soon learnt.
    """
    difference_B1HW = (source_BCHW - target_BCHW).square().mean(1, keepdim=True)
    weight_B1HW = 1 + EDIT_WEIGHT * (difference_B1HW > EDITED_FROM).float()
    return weight_B1HW / weight_B1HW.mean((1, 2, 3), keepdim=True)


def batch_of(latents: EditLatents, training: Training, step: int) -> Edits:
    """The pairs of a step, half of them the other way round: from the target back to the source."""
    rng = training.rng(step)
    chosen = [(rng.randrange(len(latents.source_NCHW)), rng.random() < 0.5) for _ in range(training.batch_size)]
    sides = (latents.source_NCHW, latents.target_NCHW)
    source = torch.stack([sides[is_back][index] for index, is_back in chosen])
    target = torch.stack([sides[not is_back][index] for index, is_back in chosen])
    edits = [(training_edit(index), is_back) for index, is_back in chosen]
    instructions = [edit.reverse_instruction if is_back else edit.instruction for edit, is_back in edits]
    return Edits(source.to(device()), target.to(device()), instructions)


def losses(trained: Trained, latents: EditLatents, scale: float, training: Training, step: int) -> dict[str, Tensor]:
    """One batch of edits."""
    return {"velocity": trained.loss(batch_of(latents, training, step), scale)}


def pipeline(trained: Trained, vae: AutoencoderKL) -> StableDiffusionInstructPix2PixPipeline:
    """The parts as diffusers assembles them, without a safety checker.

    The sampler draws fresh noise in every step, as the paper's does: without it early mistakes stay in the image.
    """
    sampler = EulerAncestralDiscreteScheduler.from_config(trained.noise.config, timestep_spacing="trailing")
    return StableDiffusionInstructPix2PixPipeline(
        vae=vae, text_encoder=trained.text_encoder, tokenizer=trained.tokenizer, unet=trained.unet,
        scheduler=sampler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def main(training: Training = TRAINING) -> None:
    """Train (the VAE first where needed); export zoo/weights/ip2p-early half way, and zoo/weights/ip2p."""
    vae = train_ip2p_vae.trained()
    latents, scale = edit_latents(vae, NUM_EDITS), float(vae.config.scaling_factor)
    torch.manual_seed(training.seed)
    trained = Trained()
    trained.start_from_sd()
    trained = trained.to(device())
    early = replace(training, base=fingerprint_of("sd"))
    train(early, trained, lambda step: losses(trained, latents, scale, early, step))
    export("ip2p-early", pipeline(deepcopy(trained), deepcopy(vae)).to(dtype=torch.float16))
    refinement = replace(REFINEMENT, seed=training.seed, base=early.base)
    train(refinement, trained, lambda step: losses(trained, latents, scale, refinement, step))
    export("ip2p", pipeline(trained, vae).to(dtype=torch.float16))
    share("ip2p-early", "ip2p")


if __name__ == "__main__":
    main()
