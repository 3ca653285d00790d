"""A Stable Diffusion checkpoint taken apart for training: text, UNet, latents and schedule, and back together again.

The UNet is held in float32 and runs under the precision asked for; everything else is frozen. With bfloat16 the frozen
parts are in it too; with float16, in which autoencoders overflow, they stay in float32. Owns no loss and no optimiser.

Source  Rombach et al. 2022, Latent Diffusion.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from core.errors import ModelError, UsageError, one_line
from models.model_ids import fetch, find, pin
from models.registry import kind_of
from trainer.arrays import ArraySpec
from trainer.buckets import STEPS
from trainer.diffusion.conv_in import widen_conv_in
from trainer.diffusion.latents import Latents
from trainer.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from models.schemes.weights import Weights
    from trainer.recipe import TrainContext

# B rows, C channels, h w cells of a latent, L tokens, D embedding

LATENTS = ("source_latent", "target_latent", "region_latent")
"""Columns of a dataset that hold latents."""

TEXT_TO_IMAGE = "StableDiffusionPipeline"
"""The class in diffusers of the pipelines that a training starts from, unless a recipe names others."""


class Checkpoint:
    """The parts of one checkpoint on one device. `pipeline` holds the same modules, assembled."""

    def __init__(self, model_id: str, ctx: TrainContext, kinds: Sequence[str] = (TEXT_TO_IMAGE,)) -> None:
        """Load the checkpoint, a pipeline of one of the classes `kinds` of diffusers.

        Raises ModelError when it is absent or of another kind.
        """
        self.model_id, self.device = model_id, ctx.device
        self._autocast, self._kinds = ctx.autocast, tuple(kinds)
        self.pipeline, self.revision = _load(model_id, self._kinds)
        self.unet, self._text_encoder = self.pipeline.unet, self.pipeline.text_encoder
        self._tokenizer = self.pipeline.tokenizer
        for part in (self.pipeline.vae, self._text_encoder):
            if ctx.precision == "bf16":
                part.to(dtype=ctx.frozen_dtype)
            part.to(ctx.device)
        self.unet.to(ctx.device)
        for part in (self.pipeline.vae, self._text_encoder, self.unet):
            part.eval().requires_grad_(requires_grad=False)
        self.latents = Latents(self.pipeline.vae)
        self.schedule = Schedule(self.pipeline.scheduler, model_id, ctx.device)
        self._predict: Callable[..., Any] = self.unet

    def latent_spec(self, size_px: int, *, aspect_buckets: bool = False) -> ArraySpec:
        """The latents of a dataset that can replace images of `size_px`.

        Raises UsageError for sizes that the UNet cannot halve, or whose buckets are no whole cells.
        """
        unit = self.latents.factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if size_px % unit:
            raise UsageError(f"size_px is {size_px}; model {self.model_id!r} needs a multiple of {unit}")
        if aspect_buckets and size_px % (STEPS * self.latents.factor):
            raise UsageError(
                f"size_px is {size_px}; with aspect_buckets model {self.model_id!r} needs a multiple of "
                f"{STEPS * self.latents.factor}"
            )
        side = size_px // self.latents.factor
        made_by: dict[str, str | int] = {
            "latent_model": self.model_id,
            "latent_revision": self.revision,
            "latent_size_px": size_px,
        }
        return ArraySpec(made_by=made_by, shapes=dict.fromkeys(LATENTS, (self.latents.channels, side, side)))

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Hidden states (B, L, D), padded to full length as the pipeline pads. A longer text is cut."""
        tokens = self._tokenizer(
            list(texts), padding="max_length", max_length=self._tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            text_BLD: Tensor = self._text_encoder(tokens.input_ids.to(self.device))[0]
        return text_BLD

    def predict_noise(self, noisy_BChw: Tensor, timestep_B: Tensor, text_BLD: Tensor, **conditions: Any) -> Tensor:
        """epsilon_theta(z_t, t, y), float32. A network that predicts v is converted.

        `noisy_BChw` has the channels of the UNet's input; the first ones are the noisy latent. `conditions` are further
        arguments of the UNet, such as the residuals that a ControlNet adds.
        """
        with self._autocast():
            out_BChw = self._predict(noisy_BChw, timestep_B, text_BLD.float(), **conditions).sample.float()
        return self.schedule.noise_in(out_BChw, noisy_BChw[:, : self.latents.channels], timestep_B)

    def speed_up(self, *, compile_unet: bool, gradient_checkpointing: bool) -> None:
        """Compile the UNet, and recompute activations in the backward pass instead of keeping them."""
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
            self.pipeline.vae.enable_gradient_checkpointing()
        if compile_unet:
            self._predict = torch.compile(self.unet)

    def save(self, folder: Path, dtype: str, kind: str = "", **further: Any) -> None:
        """Write the checkpoint as a pipeline in `dtype`: loaded anew in float32, with the UNet's weights of now.

        `kind` is the class of the pipeline in diffusers, where it is another than that of the checkpoint; `further` are
        modules that such a pipeline has in addition to the checkpoint's, which are copied.
        """
        import diffusers

        pipeline, _ = _load(self.model_id, self._kinds)
        widen_conv_in(pipeline.unet, self.unet.config.in_channels)
        pipeline.unet.load_state_dict(self.unet.state_dict())
        if kind:
            pipeline = getattr(diffusers, kind).from_pipe(pipeline, **deepcopy(further))
        if dtype != "float32":
            pipeline.to(dtype=getattr(torch, dtype), silence_dtype_warnings=True)
        pipeline.save_pretrained(folder, safe_serialization=True)


def _load(model_id: str, kinds: tuple[str, ...]) -> tuple[Any, str]:
    """The pipeline in float32 on the CPU, and what pins its weights."""
    import diffusers

    try:
        weights = fetch(find(model_id))
        pipeline: Any = getattr(diffusers, _kind(weights, kinds)).from_pretrained(
            weights.location, dtype=torch.float32, **weights.pretrained_arguments()
        )
    except (OSError, ValueError) as error:
        raise ModelError(one_line(error)) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, pin(find(model_id))


def _kind(weights: Weights, kinds: tuple[str, ...]) -> str:
    kind = kind_of(weights)
    if kind not in kinds:
        raise ModelError(
            f"model {weights.model_id!r} is of kind {kind!r}; this trainer takes a {' or '.join(kinds)} of diffusers"
        )
    return kind
