"""Trains zoo:sd, a StableDiffusionPipeline: text encoder and UNet together, over the latents of the trained VAE.

Rombach et al. 2022 with 10 % empty prompts for guidance and the min-SNR weights of Hang et al. 2023 (gamma 5).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from zoo import train_vae
from zoo.export import export
from zoo.latents import LATENT_PX, scene_latents, training_scene
from zoo.tokenizers import CLIP_LENGTH, clip_tokenizer
from zoo.training import Training, device, train
from zoo.world import Scene, caption, varied_caption

if TYPE_CHECKING:
    import random

    from diffusers import AutoencoderKL
    from torch import Tensor

WIDTH = 128
NUM_SCENES = 24_000
EMPTY_PROMPT_FRAC = 0.1
MIN_SNR_GAMMA = 5.0
TRAINING = Training("sd", num_steps=3000, batch_size=32, learning_rate=1e-3, muon_rate=0.005, ema=0.998)
REFINEMENT = replace(TRAINING, name="sd-refined", num_steps=1800, learning_rate=6e-4, muon_rate=0.003)


def build_unet(in_channels: int = 4, out_channels: int = 4) -> UNet2DConditionModel:
    """A UNet with random weights: 64 and 112 channels, cross-attention at 16 and 8 px, 3.5 M parameters."""
    return UNet2DConditionModel(
        sample_size=LATENT_PX, in_channels=in_channels, out_channels=out_channels, block_out_channels=(64, 112),
        down_block_types=("CrossAttnDownBlock2D",) * 2, up_block_types=("CrossAttnUpBlock2D",) * 2,
        layers_per_block=1, cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=16,
    )  # fmt: skip


def build_text_encoder() -> CLIPTextModel:
    """A CLIPTextModel of zoo:clip's shape with random weights."""
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_attention_heads=4,
        num_hidden_layers=3, max_position_embeddings=CLIP_LENGTH, projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return CLIPTextModel(config)


def scheduler() -> DDIMScheduler:
    """Stable Diffusion 1's noise schedule. Latents are not clipped, as they are no pixels."""
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type="epsilon",
    )  # fmt: skip


def prompt(scene: Scene, rng: random.Random) -> str:
    """A training prompt: the canonical caption, another wording, or nothing."""
    kind = rng.random()
    if kind < EMPTY_PROMPT_FRAC:
        return ""
    return caption(scene) if kind < 0.7 else varied_caption(scene, rng)


class Trained(nn.Module):
    """Text encoder and UNet, trained together."""

    def __init__(self, in_channels: int = 4) -> None:
        super().__init__()
        self.tokenizer = clip_tokenizer()
        self.text_encoder = build_text_encoder()
        self.unet = build_unet(in_channels)
        self.noise = scheduler()

    def encode_prompts(self, prompts: list[str]) -> Tensor:
        """Hidden states (B, 32, 128), padded to full length as the pipeline pads."""
        tokens = self.tokenizer(
            prompts, padding="max_length", max_length=CLIP_LENGTH, truncation=True, return_tensors="pt"
        )
        hidden: Tensor = self.text_encoder(tokens.input_ids.to(device())).last_hidden_state
        return hidden

    def loss(self, latent_BCHW: Tensor, prompts: list[str], extra_BCHW: Tensor | None = None) -> Tensor:
        """The weighted squared error of the predicted noise. `extra_BCHW` joins the UNet's input channels."""
        noise_BCHW = torch.randn_like(latent_BCHW)
        timestep_B = torch.randint(
            0, self.noise.config.num_train_timesteps, (len(latent_BCHW),), device=latent_BCHW.device
        )
        noisy_BCHW = self.noise.add_noise(latent_BCHW, noise_BCHW, timestep_B)
        given = noisy_BCHW if extra_BCHW is None else torch.cat([noisy_BCHW, extra_BCHW], dim=1)
        predicted_BCHW = self.unet(given, timestep_B, self.encode_prompts(prompts)).sample
        alpha_B = self.noise.alphas_cumprod.to(latent_BCHW.device)[timestep_B]
        snr_B = alpha_B / (1 - alpha_B)
        weight_B = snr_B.clamp(max=MIN_SNR_GAMMA) / snr_B
        loss: Tensor = (weight_B * (predicted_BCHW - noise_BCHW).square().mean((1, 2, 3))).mean()
        return loss


def losses(trained: Trained, latents: Tensor, training: Training, step: int) -> dict[str, Tensor]:
    """One batch of scenes with their prompts."""
    rng = training.rng(step)
    chosen = [rng.randrange(len(latents)) for _ in range(training.batch_size)]
    prompts = [prompt(training_scene(index), rng) for index in chosen]
    return {"noise": trained.loss(latents[chosen].to(device()), prompts)}


def pipeline(trained: Trained, vae: AutoencoderKL) -> StableDiffusionPipeline:
    """The parts as diffusers assembles them, without a safety checker."""
    return StableDiffusionPipeline(
        vae=vae, text_encoder=trained.text_encoder, tokenizer=trained.tokenizer, unet=trained.unet,
        scheduler=trained.noise, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def main(training: Training = TRAINING) -> None:
    """Trains (the VAE first where needed) and exports to zoo/weights/sd."""
    vae = train_vae.trained()
    latents = scene_latents(vae, NUM_SCENES)
    torch.manual_seed(training.seed)
    trained = Trained().to(device())
    train(training, trained, lambda step: losses(trained, latents, training, step))
    refinement = replace(REFINEMENT, seed=training.seed)
    train(refinement, trained, lambda step: losses(trained, latents, refinement, step))
    export("sd", pipeline(trained, vae).to(dtype=torch.float16))


if __name__ == "__main__":
    main()
