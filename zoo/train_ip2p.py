"""Trains zoo:ip2p, a StableDiffusionInstructPix2PixPipeline, on exact edits of all kinds: text encoder and UNet.

First zoo:sd learns to draw in the latents of another autoencoder, its outer convolutions before all else: otherwise
its inner layers forget how things look, and hardly learn it again from edits. Then it learns to edit. The early
checkpoint, zoo:ip2p-early, is the start of trainings that compare datasets.

The network predicts v, not epsilon: at high noise, where an editor decides whether it copies or draws anew, an error in
epsilon costs almost nothing, but the same error in v costs as much as one in the clean latent. docs/log.md has the
comparisons.

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
from zoo.world import KINDS, EditKind, Scene, caption, varied_caption

if TYPE_CHECKING:
    import random

    from diffusers import AutoencoderKL
    from torch import Tensor

CHANNELS = train_ip2p_vae.CHANNELS
NUM_EDITS = 24_000
DROPPED_FRAC = 0.05
"""Share of rows without text, without source, and without both: this much each."""
EDIT_WEIGHT = 6.0
EDITED_FROM = 0.02
"""Squared difference of two latent cells, scaled, from which on a cell counts as edited."""
CANONICAL_FRAC = 2 / 3
OUTER = ("unet.conv_in.", "unet.conv_out.", "unet.conv_norm_out.")
"""What sees or makes latents itself."""
OUTER_TRAINING = Training("ip2p-outer", num_steps=300, batch_size=8, learning_rate=3e-3, ema=0.98)
DRAWING = replace(OUTER_TRAINING, name="ip2p-drawing", num_steps=1500, learning_rate=1e-3, muon_rate=0.003, ema=0.998)
DRAWING_ON = replace(DRAWING, name="ip2p-drawing-on", num_steps=2000)
EARLY = replace(DRAWING, name="ip2p-early", num_steps=2500)
MIDDLE = replace(DRAWING, name="ip2p-middle", num_steps=16_000, ema=0.999)
HARD = replace(MIDDLE, name="ip2p-hard", num_steps=12_000)
ALL_KINDS = replace(HARD, name="ip2p-all-kinds")
LONG = replace(ALL_KINDS, name="ip2p-long", num_steps=16_000)
TRAINING = replace(ALL_KINDS, name="ip2p")


class Lesson(NamedTuple):
    """What the rows of a batch are: a share `drawn_frac` draws the target from its caption, without a source.

    `kind_weights` says how often a kind of edit is drawn, 1 where it is not named.
    """

    drawn_frac: float
    kind_weights: dict[EditKind, float]


DRAWINGS = Lesson(1.0, {})
EDITS = Lesson(0.1, {"replace_noun": 2.0, "add": 2.0, "move": 2.0})
"""More of what must draw a thing."""
HARD_EDITS = Lesson(0.05, {"replace_noun": 2.0, "change_colour": 1.5, "add": 1.5, "remove": 3.0, "change_style": 1.5})
"""More of what is learnt last. Fewer drawings: a caption names what is there, "remove" names what must go."""
LATE_EDITS = Lesson(0.05, {"replace_noun": 2.0, "change_colour": 1.5, "add": 2.0, "remove": 2.0, "change_style": 2.0})
"""Then more of all in which things were still read wrongly."""
COURSE = (
    (OUTER_TRAINING, DRAWINGS), (DRAWING, DRAWINGS), (DRAWING_ON, DRAWINGS), (EARLY, EDITS),
    (MIDDLE, EDITS), (HARD, HARD_EDITS), (ALL_KINDS, LATE_EDITS), (LONG, LATE_EDITS), (TRAINING, LATE_EDITS),
)  # fmt: skip
"""The parts of the training in their order. After EARLY zoo:ip2p-early is exported."""
_ALL = tuple(part for part, _ in COURSE)
PARTS = {"ip2p-early": _ALL[: _ALL.index(EARLY) + 1], "ip2p": _ALL}
"""The parts of the training of each checkpoint."""


class Edits(NamedTuple):
    """The pairs of one batch: unscaled latents (B, C, h, w) and texts.

    A row is an edit by its instruction, or a drawing by its caption, with zeros for a source.
    """

    source_BCHW: Tensor
    target_BCHW: Tensor
    texts: list[str]
    is_drawn_B: Tensor


class Trained(nn.Module):
    """Text encoder and UNet, trained together."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = clip_tokenizer()
        self.text_encoder = build_text_encoder()
        self.unet = build_unet(2 * CHANNELS, CHANNELS)
        self.noise = DDIMScheduler.from_config(scheduler().config, prediction_type="v_prediction")

    def start_from_sd(self) -> None:
        """Copy zoo:sd's weights, but for the first and the last convolution. The source is not seen at first."""
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
        with torch.no_grad():
            self.unet.conv_in.weight[:, CHANNELS:] = 0

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
        texts = ["" if chance < 2 * DROPPED_FRAC else text for chance, text in zip(chance_B, edits.texts, strict=True)]
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
        weight_B1HW = edit_weights(edits.source_BCHW * scale, target_BCHW)
        weight_B1HW[edits.is_drawn_B] = 1
        loss: Tensor = (error_B1HW * weight_B1HW).mean()
        return loss


def edit_weights(source_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Weights (B, 1, h, w) of the cells of each edit, 1 on average: more where source and target differ.

    An object is a tenth of an image. Without weights most of the loss is about copying, which is soon learnt.
    """
    difference_B1HW = (source_BCHW - target_BCHW).square().mean(1, keepdim=True)
    weight_B1HW = 1 + EDIT_WEIGHT * (difference_B1HW > EDITED_FROM).float()
    return weight_B1HW / weight_B1HW.mean((1, 2, 3), keepdim=True)


def batch_of(latents: EditLatents, training: Training, step: int, lesson: Lesson) -> Edits:
    """The pairs of a step, half of them the other way round: from the target back to the source."""
    rng = training.rng(step)
    weights = [lesson.kind_weights.get(kind, 1.0) for kind in KINDS]
    sources, targets, texts, is_drawn = [], [], [], []
    for _ in range(training.batch_size):
        kind_number = rng.choices(range(len(KINDS)), weights)[0]
        index = rng.randrange(kind_number, len(latents.source_NCHW), len(KINDS))
        edit, is_back = training_edit(index), rng.random() < 0.5
        source, target = latents.source_NCHW[index], latents.target_NCHW[index]
        scene, instruction = edit.target, edit.instruction
        if is_back:
            source, target, scene, instruction = target, source, edit.source, edit.reverse_instruction
        is_drawn.append(rng.random() < lesson.drawn_frac)
        if is_drawn[-1]:
            source, instruction = torch.zeros_like(source), _caption(scene, rng)
        sources.append(source)
        targets.append(target)
        texts.append(instruction)
    return Edits(
        torch.stack(sources).to(device()), torch.stack(targets).to(device()), texts,
        torch.tensor(is_drawn, device=device()),
    )  # fmt: skip


def _caption(scene: Scene, rng: random.Random) -> str:
    return caption(scene) if rng.random() < CANONICAL_FRAC else varied_caption(scene, rng)


def losses(
    trained: Trained, latents: EditLatents, scale: float, training: Training, step: int, lesson: Lesson = EDITS
) -> dict[str, Tensor]:
    """One batch of edits and drawings."""
    return {"velocity": trained.loss(batch_of(latents, training, step, lesson), scale)}


def pipeline(trained: Trained, vae: AutoencoderKL) -> StableDiffusionInstructPix2PixPipeline:
    """The parts as diffusers assembles them, without a safety checker.

    The sampler draws fresh noise in every step, as the paper's does: without it early mistakes stay in the image.
    """
    sampler = EulerAncestralDiscreteScheduler.from_config(trained.noise.config, timestep_spacing="trailing")
    return StableDiffusionInstructPix2PixPipeline(
        vae=vae, text_encoder=trained.text_encoder, tokenizer=clip_tokenizer(), unet=trained.unet,
        scheduler=sampler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def main(training: Training = TRAINING) -> None:
    """Train (the VAE first where needed); export zoo/weights/ip2p-early on the way, and zoo/weights/ip2p."""
    vae = train_ip2p_vae.trained()
    latents, scale = edit_latents(vae, NUM_EDITS), float(vae.config.scaling_factor)
    torch.manual_seed(training.seed)
    trained = Trained()
    trained.start_from_sd()
    trained = trained.to(device())

    def learn(part: Training, lesson: Lesson) -> None:
        own = replace(part, seed=training.seed, base=fingerprint_of("sd"))
        train(own, trained, lambda step: losses(trained, latents, scale, own, step, lesson))

    for part, lesson in COURSE:
        for name, parameter in trained.named_parameters():
            parameter.requires_grad_(part is not OUTER_TRAINING or name.startswith(OUTER))
        learn(part, lesson)
        if part is EARLY:
            export("ip2p-early", pipeline(deepcopy(trained), deepcopy(vae)).to(dtype=torch.float16))
    export("ip2p", pipeline(trained, vae).to(dtype=torch.float16))
    share("ip2p-early", "ip2p")


if __name__ == "__main__":
    main()
