"""A Stable Diffusion checkpoint taken apart for training: latents, text, predicted noise, and back together again.

The UNet is held in float32 and runs under the precision asked for; everything else is frozen. With bfloat16 the frozen
parts are in it too; with float16, in which autoencoders overflow, they stay in float32. Owns no loss and no optimiser.

Source  Rombach et al. 2022, Latent Diffusion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from core.errors import ModelError, UsageError, one_line
from models.model_ids import fetch, find, pin
from models.registry import kind_of
from trainer.decode import LatentSpec
from trainer.noise import noise_of_velocity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor

    from models.schemes.weights import Weights
    from trainer.config import Precision

# B rows, C channels, H W pixels, h w cells of a latent, L tokens, D embedding


class Diffusion:
    """The parts of one checkpoint on one device. `pipeline` holds the same modules, assembled."""

    def __init__(
        self,
        model_id: str,
        device: torch.device,
        precision: Precision = "no",
        autocast: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        """Load the checkpoint. Raises UsageError when it is absent or of a kind that is not trained here."""
        self.model_id, self.device = model_id, device
        self.frozen_dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.autocast = autocast or (lambda: torch.autocast(device.type, enabled=False))
        self.pipeline, self.revision = _load(model_id)
        self.unet, self.vae, self._text_encoder = self.pipeline.unet, self.pipeline.vae, self.pipeline.text_encoder
        self._tokenizer = self.pipeline.tokenizer
        for part in (self.vae, self._text_encoder, self.unet):
            if part is not self.unet and precision == "bf16":
                part.to(dtype=self.frozen_dtype)
            part.to(device).eval().requires_grad_(requires_grad=False)
        self._alpha_T = _alphas(self.pipeline.scheduler, model_id).to(device)
        self.num_timesteps = len(self._alpha_T)
        self._prediction = str(self.pipeline.scheduler.config.prediction_type)
        if self._prediction not in ("epsilon", "v_prediction"):
            raise UsageError(
                f"model {model_id!r} predicts {self._prediction!r}; its losses are known for epsilon and v_prediction"
            )
        self._predict: Callable[..., Any] = self.unet

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.vae.config.latent_channels)

    def latent_spec(self, size_px: int) -> LatentSpec:
        """What latents of images of `size_px` are like. Raises UsageError for sizes that the UNet cannot halve."""
        factor = 2 ** (len(self.vae.config.block_out_channels) - 1)
        unit = factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if size_px % unit:
            raise UsageError(f"size_px is {size_px}; model {self.model_id!r} needs a multiple of {unit}")
        side = size_px // factor
        return LatentSpec(self.model_id, self.revision, size_px, (self.latent_channels, side, side))

    def alpha(self, timestep_B: Tensor) -> Tensor:
        """Alpha of DDIM's notation, the cumulative product, of timestep indices 0 to T - 1: (B,)."""
        return self._alpha_T[timestep_B]

    def encode(self, image_BCHW: Tensor) -> Tensor:
        """Scaled latents (B, C, h, w) of images from -1 to 1: the posterior's mode, without a gradient."""
        with torch.no_grad():
            mode_BChw: Tensor = self.vae.encode(image_BCHW.to(self.vae.dtype)).latent_dist.mode().float()
        return (mode_BChw - self._shift) * self._scale

    def decode(self, latent_BChw: Tensor) -> Tensor:
        """Images (B, 3, H, W), about -1 to 1, not clamped, with the gradient to the latents."""
        image_BCHW: Tensor = self.vae.decode((latent_BChw / self._scale + self._shift).to(self.vae.dtype)).sample
        return image_BCHW.float()

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Hidden states (B, L, D), padded to full length as the pipeline pads; a longer text is cut."""
        tokens = self._tokenizer(
            list(texts), padding="max_length", max_length=self._tokenizer.model_max_length, truncation=True,
            return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            text_BLD: Tensor = self._text_encoder(tokens.input_ids.to(self.device))[0]
        return text_BLD

    def predict_noise(self, noisy_BChw: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        """epsilon_theta(z_t, t, y), float32; a network that predicts v is converted."""
        with self.autocast():
            out_BChw = self._predict(noisy_BChw, timestep_B, text_BLD.float()).sample.float()
        if self._prediction == "v_prediction":
            return noise_of_velocity(noisy_BChw, out_BChw, self.alpha(timestep_B))
        noise_BChw: Tensor = out_BChw
        return noise_BChw

    def speed_up(self, *, compile_unet: bool, gradient_checkpointing: bool) -> None:
        """Compile the UNet, and recompute activations in the backward pass instead of keeping them."""
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
            self.vae.enable_gradient_checkpointing()
        if compile_unet:
            self._predict = torch.compile(self.unet)

    def trained_pipeline(self) -> Any:
        """The checkpoint as it was, loaded anew on the CPU in float32, with the UNet's weights of now."""
        pipeline, _ = _load(self.model_id)
        pipeline.unet.load_state_dict(self.unet.state_dict())
        return pipeline

    @property
    def _scale(self) -> float:
        return float(self.vae.config.scaling_factor)

    @property
    def _shift(self) -> float:
        return float(self.vae.config.shift_factor or 0.0)


def _load(model_id: str) -> tuple[Any, str]:
    """The pipeline in float32 on the CPU, and what pins its weights."""
    from diffusers import StableDiffusionPipeline

    try:
        weights = fetch(find(model_id))
        _check_kind(weights)
        pipeline: Any = StableDiffusionPipeline.from_pretrained(
            weights.location, dtype=torch.float32, **weights.pretrained_arguments()
        )
    except (ModelError, OSError, ValueError) as error:
        raise UsageError(one_line(error)) from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, pin(find(model_id))


def _check_kind(weights: Weights) -> None:
    kind = kind_of(weights)
    if kind != "StableDiffusionPipeline":
        raise ModelError(
            f"model {weights.model_id!r} is of kind {kind!r}; this trainer takes a StableDiffusionPipeline of diffusers"
        )


def _alphas(scheduler: Any, model_id: str) -> Tensor:
    alpha_T = getattr(scheduler, "alphas_cumprod", None)
    if alpha_T is None:
        name = type(scheduler).__name__
        raise UsageError(f"model {model_id!r} has the scheduler {name}, which has no alphas_cumprod; name another")
    if not bool(((alpha_T > 0) & (alpha_T < 1)).all()):
        raise UsageError(
            f"model {model_id!r} has timesteps of pure noise or of none, by which equations 3 and 7 cannot divide"
        )
    return torch.as_tensor(alpha_T, dtype=torch.float32)
