"""A Stable Diffusion checkpoint taken apart for training: text, UNet, latents and schedule, and back together again.

Versions 1, 2 and XL. The UNet is held in float32 and runs under the precision asked for; everything else is frozen.
With bfloat16 the frozen parts are in it too; with float16, in which autoencoders overflow, they stay in float32. Owns
no loss and no optimiser.

Source  Rombach et al. 2022, Latent Diffusion; Podell et al. 2023, SDXL, section 2.2 for the conditions on size.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch

from core.errors import ModelError, one_line
from models.diffusion.editor_kinds import CLASS_OF, LORA_FOLDER
from models.diffusion.lora import merge_lora
from models.diffusion.text_conditions import (
    TextCondition,
    encode_texts,
    is_sdxl,
    with_and_without,
    word_tokens,
)
from models.model_ids import find, pin
from models.registry import CLASS_NAME
from trainer.arrays import ArraySpec
from trainer.diffusion.conv_in import widen_conv_in
from trainer.diffusion.latents import Latents
from trainer.diffusion.lora import add_lora, save_lora
from trainer.diffusion.schedule import Schedule
from trainer.diffusion.start import Start, read_start

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from trainer.recipe import TrainContext

# B rows, C channels, h w cells of a latent

LATENTS = ("source_latent", "target_latent", "region_latent")
"""Columns of a dataset that hold latents."""

TEXT_TO_IMAGE = "StableDiffusionPipeline"
"""The class in diffusers of the pipelines that a training starts from, unless a recipe names others."""
INDEX = "model_index.json"


class Checkpoint:
    """The parts of one checkpoint on one device. `pipeline` holds the same modules, assembled."""

    def __init__(
        self,
        model_id: str,
        ctx: TrainContext,
        kinds: Sequence[str] = (TEXT_TO_IMAGE,),
        *,
        prediction: str | None = None,
    ) -> None:
        """Load the checkpoint, a pipeline of one of the classes `kinds`. LoRA weights beside it are merged into it.

        `prediction` is what the UNet shall predict from now on, where that is not what the checkpoint says. Raises
        ModelError when the checkpoint is absent, UsageError when it is of another kind.
        """
        self.model_id, self.device = model_id, ctx.device
        self._autocast, self._has_lora = ctx.autocast, False
        self._start = read_start(model_id, kinds)
        self.pipeline, self.revision = _load(self._start), pin(find(model_id))
        if prediction:
            self.pipeline.scheduler.register_to_config(prediction_type=prediction)
        self.unet = self.pipeline.unet
        second = (self.pipeline.text_encoder_2,) if is_sdxl(self.pipeline) else ()
        frozen = (self.pipeline.vae, self.pipeline.text_encoder, *second)
        for part in frozen:
            if ctx.precision == "bf16":
                part.to(dtype=ctx.frozen_dtype)
            part.to(ctx.device)
        self.unet.to(ctx.device)
        for part in (*frozen, self.unet):
            part.eval().requires_grad_(requires_grad=False)
        self.latents = Latents(self.pipeline.vae)
        self.schedule = Schedule(self.pipeline.scheduler, model_id, ctx.device)
        self._predict: Callable[..., Any] = self.unet

    def latent_spec(self, size_px: int, *, aspect_buckets: bool = False) -> ArraySpec:
        """The latents of a dataset that can replace images of `size_px`.

        Raises UsageError for sizes that the UNet cannot halve, or whose buckets are no whole cells.
        """
        self._start.check_size(size_px, aspect_buckets=aspect_buckets)
        side = size_px // self.latents.factor
        made_by: dict[str, str | int] = {
            "latent_model": self.model_id,
            "latent_revision": self.revision,
            "latent_size_px": size_px,
        }
        return ArraySpec(made_by=made_by, shapes=dict.fromkeys(LATENTS, (self.latents.channels, side, side)))

    def text_spec(self) -> ArraySpec:
        """The embeddings of a dataset that can replace texts."""
        none = self.no_text()
        shapes = {"instruction_emb": tuple(none.tokens_BLD.shape[1:])}
        if none.pooled_BD is not None:
            shapes["instruction_pooled_emb"] = tuple(none.pooled_BD.shape[1:])
        return ArraySpec(made_by={"text_model": self.model_id, "text_revision": self.revision}, shapes=shapes)

    def encode_texts(self, texts: Sequence[str]) -> TextCondition:
        """B texts, padded to full length as the pipeline pads, float32. A longer text is cut."""
        with torch.no_grad():
            return _as_float(encode_texts(self.pipeline, list(texts)))

    def word_tokens(self, texts: Sequence[str]) -> Tensor:
        """(B, L) bool, on the device: true for the tokens of each text without its start, its end and the padding."""
        words_BL: Tensor = word_tokens(self.pipeline, texts).to(self.device)
        return words_BL

    def no_text(self) -> TextCondition:
        """One row that stands for no text, as the pipeline has it: the empty text, or zeros for SDXL."""
        with torch.no_grad():
            return _as_float(with_and_without(self.pipeline, [])[1])

    def predict(self, noisy_BChw: Tensor, timestep_B: Tensor, texts: TextCondition, **conditions: Any) -> Tensor:
        """The UNet's output, float32: noise or velocity, as `schedule.prediction` says.

        `noisy_BChw` has the channels of the UNet's input; the first ones are the noisy latent. `conditions` are further
        arguments of the UNet, such as the residuals that a ControlNet adds.
        """
        with self._autocast():
            out = self._predict(
                noisy_BChw, timestep_B, texts.tokens_BLD, **self._size_conditions(noisy_BChw, texts), **conditions
            )
        out_BChw: Tensor = out.sample.float()
        return out_BChw

    def predict_noise(self, noisy_BChw: Tensor, timestep_B: Tensor, texts: TextCondition, **conditions: Any) -> Tensor:
        """epsilon_theta(z_t, t, y), float32, from `predict`. A network that predicts v is converted."""
        out_BChw = self.predict(noisy_BChw, timestep_B, texts, **conditions)
        return self.schedule.noise_in(out_BChw, noisy_BChw[:, : self.latents.channels], timestep_B)

    def add_lora(self, rank: int) -> None:
        """Add adapters to the UNet's attention layers. `save` then writes them beside the weights they started from."""
        add_lora(self.unet, rank)
        self._has_lora = True

    def speed_up(self, *, compile_unet: bool, gradient_checkpointing: bool) -> None:
        """Compile the UNet, and recompute activations in the backward pass instead of keeping them."""
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
            self.pipeline.vae.enable_gradient_checkpointing()
        if compile_unet:
            self._predict = torch.compile(self.unet)

    def save(self, folder: Path, dtype: str, kind: str = "", **further: Any) -> None:
        """Write the checkpoint as a pipeline in `dtype`: loaded anew in float32, with the UNet's weights of now.

        `kind` is the kind of the pipeline, where it is another than that of the checkpoint; `further` are modules that
        such a pipeline has in addition to the checkpoint's, which are copied. Of a UNet with adapters the first
        convolution alone is that of now, and the adapters are written into a folder of their own.
        """
        import diffusers

        pipeline = _load(self._start)
        widen_conv_in(pipeline.unet, self.unet.config.in_channels)
        if self._has_lora:
            pipeline.unet.conv_in.load_state_dict(self.unet.conv_in.state_dict())
        else:
            pipeline.unet.load_state_dict(self.unet.state_dict())
        pipeline.scheduler.register_to_config(prediction_type=self.schedule.prediction)
        kind = kind or self._start.kind
        pipeline_class = CLASS_OF.get(kind, kind)
        if further or pipeline_class != self._start.pipeline_class:
            pipeline = getattr(diffusers, pipeline_class).from_pipe(pipeline, **deepcopy(further))
        if dtype != "float32":
            pipeline.to(dtype=getattr(torch, dtype), silence_dtype_warnings=True)
        pipeline.save_pretrained(folder, safe_serialization=True)
        if kind != pipeline_class:
            index = json.loads((folder / INDEX).read_bytes())
            (folder / INDEX).write_text(json.dumps({**index, CLASS_NAME: kind}, indent=2) + "\n", encoding="utf-8")
        if self._has_lora:
            save_lora(self.unet, folder / LORA_FOLDER, pipeline, dtype)

    def _size_conditions(self, noisy_BChw: Tensor, texts: TextCondition) -> dict[str, Any]:
        """The arguments that SDXL's UNet has in addition: the pooled text, and the size of images that are not cropped.

        Size and crop are those of the training's own images, (height, width, 0, 0, height, width), and not of the
        images from which they were cut.
        """
        if texts.pooled_BD is None:
            return {}
        height, width = (side * self.latents.factor for side in noisy_BChw.shape[-2:])
        ids_B6 = torch.tensor([[height, width, 0, 0, height, width]], device=noisy_BChw.device, dtype=torch.float32)
        return {"added_cond_kwargs": {"text_embeds": texts.pooled_BD, "time_ids": ids_B6.expand(len(noisy_BChw), 6)}}


def _as_float(texts: TextCondition) -> TextCondition:
    pooled_BD = texts.pooled_BD
    return TextCondition(texts.tokens_BLD.float(), None if pooled_BD is None else pooled_BD.float())


def _load(start: Start) -> Any:
    """The pipeline in float32 on the CPU, with the LoRA weights that lie beside it, if any, merged into it."""
    import diffusers

    try:
        pipeline: Any = getattr(diffusers, start.pipeline_class).from_pretrained(
            start.weights.location, dtype=torch.float32, **start.weights.pretrained_arguments()
        )
        merge_lora(pipeline, start.weights.location)
    except (OSError, ValueError) as error:
        raise ModelError(one_line(error)) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
