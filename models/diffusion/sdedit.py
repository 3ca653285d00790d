"""SDEdit over Stable Diffusion through diffusers: noises an image part of the way and denoises it towards a text.

Outside a mask the source is put back after every step. Serves latent diffusion of Stable Diffusion 1 and 2,
where the network takes the latent alone; not SDXL, and no network trained to inpaint or to read a source image.

Source  Meng et al. 2022, SDEdit; Song et al. 2021, DDIM; masks: Bodur et al. 2023, iEdit, equation 13.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from core.settings import Settings
from models.batches import alike, as_rgb, same_length
from models.diffusion.edit_requests import check_masks, texts_of
from models.diffusion.noise import generators
from models.diffusion.working_size import working_size
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Bools, EditRequest
    from models.schemes.weights import Weights

# B rows, C channels, H W pixels of an image as passed in, h w of its latent


LATENT_CHANNELS = 4
"""Channels of the latents of Stable Diffusion 1 and 2; the pipeline takes others for images."""


class SdEditSettings(Settings):
    """Settings of SDEdit that decide its images."""

    num_steps: int = Field(50, ge=1)
    """Steps from pure noise to an image; the last floor(num_steps * sampling_ratio) of them are run."""
    guidance_scale: float = Field(7.5, ge=0)
    """Weight of the text; 1 or less is no guidance."""
    sampling_ratio: float = Field(0.7, ge=0, le=1)
    """How far the image is noised first, from 0 (the image as it is) to 1 (pure noise)."""
    size_px: int | None = Field(None, ge=1)
    """Longer side at which images are edited; None: the side that the network was made for."""


class SdEdit:
    """An Editor over a Stable Diffusion checkpoint, sampled by DDIM with the checkpoint's noise schedule.

    The longer side of an image is scaled to `size_px`, its shape kept, both sides rounded to what the network can halve
    and double again: for Stable Diffusion 1 to 512 and multiples of 64 pixels. A checkpoint that comes with a safety
    checker keeps it: an image that it rejects is black.
    """

    Settings: ClassVar = SdEditSettings
    needs: frozenset[str] = frozenset({"target_caption"})
    uses: frozenset[str] = frozenset({"mask"})
    trained_on: frozenset[str] = frozenset()

    def __init__(self, weights: Weights, placement: Placement, settings: SdEditSettings) -> None:
        """Load the checkpoint. Raises ValueError for a network that takes more than a text and 4 channels."""
        from diffusers import StableDiffusionImg2ImgPipeline

        pipeline: Any = StableDiffusionImg2ImgPipeline.from_pretrained(
            weights.location, dtype=placement.torch_dtype(), **weights.pretrained_arguments()
        )
        channels, wanted = pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels
        if channels != wanted:
            raise ValueError(
                f"the UNet of {weights.model_id} takes {channels} channels, SDEdit needs {wanted}; "
                "name a text-to-image checkpoint"
            )
        self._take(pipeline.to(placement.torch_device()), settings, placement.batch_size)

    @classmethod
    def over(cls, pipeline: Any, settings: SdEditSettings, *, batch_size: int) -> Self:
        """The editor over a StableDiffusionPipeline in memory, whose modules stay where and as they are.

        Raises ValueError for latents of other than 4 channels. A safety checker is left out: it need not lie on the
        device that the other modules are on.
        """
        from diffusers import StableDiffusionImg2ImgPipeline

        editor = cls.__new__(cls)
        without = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        parts = StableDiffusionImg2ImgPipeline(**{**pipeline.components, **without})
        editor._take(parts, settings, batch_size)  # noqa: SLF001  its own class
        return editor

    def _take(self, pipeline: Any, settings: SdEditSettings, batch_size: int) -> None:
        from diffusers import DDIMScheduler

        if (channels := pipeline.vae.config.latent_channels) != LATENT_CHANNELS:
            raise ValueError(
                f"the autoencoder has latents of {channels} channels; SDEdit runs in diffusers' image-to-image "
                f"pipeline, which takes {LATENT_CHANNELS}"
            )
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline
        self._multiple_px = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
        self._size_px = settings.size_px or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        self._settings, self._batch_size = settings, batch_size

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image]:
        """One image a request, RGB, at the image's own size. The noise depends on the request's seed alone.

        With ratio 0 the images come back as they are, with 1 nothing of them is left to start from, and the result is
        that of text to image. Where a request's (H, W) mask is true its image may change; after each step the latent
        elsewhere is that of the source, noised to the step's level with the row's own noise, and after the last without
        noise. Masks are shrunk to latents by area, so that a latent pixel on the edge holds a mixture. Raises
        ValueError for lists of different length, a request without target caption and a mask of another size.
        """
        same_length(requests=requests, seeds=seeds)
        prompts = texts_of(requests, "target_caption", "SDEdit is led by a description of the edited image")
        check_masks(requests)
        rgb = as_rgb(one.image for one in requests)
        if self._num_run() == 0:
            return [image.copy() for image in rgb]
        sizes = [self._fitted(image) for image in rgb]

        def run(rows: Sequence[int]) -> list[Image]:
            from PIL import Image

            lanczos = Image.Resampling.LANCZOS
            edited = self._edit(
                [rgb[row].resize(sizes[row], lanczos) for row in rows],
                [prompts[row] for row in rows],
                [seeds[row] for row in rows],
                [mask for row in rows if (mask := requests[row].mask) is not None],
            )
            return [image.resize(rgb[row].size, lanczos) for image, row in zip(edited, rows, strict=True)]

        results: dict[int, Image] = {}
        for rows in alike((size, one.mask is None) for size, one in zip(sizes, requests, strict=True)):
            results |= zip(rows, in_batches(run, rows, self._batch_size), strict=True)
        return [results[row] for row in range(len(rgb))]

    def _num_run(self) -> int:
        """Number of steps that are run."""
        # 0.57 * 100 is a little less than 57
        return math.floor(self._settings.num_steps * self._settings.sampling_ratio + 1e-9)

    def _fitted(self, image: Image) -> tuple[int, int]:
        """(width, height) at which the network sees an image."""
        return working_size(image.size, self._size_px, self._multiple_px)

    def _edit(self, images: list[Image], prompts: list[str], seeds: list[int], masks: list[Bools]) -> list[Image]:
        """Images of one size, edited at that size, with a mask each or none."""
        import torch

        pipeline, drawn = self._pipeline, generators(seeds)
        num_steps, num_run = self._settings.num_steps, self._num_run()
        pipeline.scheduler.set_timesteps(num_steps, device=pipeline.device)
        with torch.inference_mode():
            source_BChw = self._encode(images, drawn)
            noise_BChw = _coming_noise(source_BChw, drawn)
            more = {"callback_on_step_end": _kept_outside(source_BChw, noise_BChw, masks)} if masks else {}
            if num_run == num_steps:
                source_BChw = _as_pure_noise(noise_BChw, pipeline.scheduler)
            edited: list[Image] = pipeline(
                prompt=prompts,
                image=source_BChw,
                # half a step more, so that rounding cannot lose one; the pipeline takes the integer part
                strength=min(1.0, (num_run + 0.5) / num_steps),
                generator=drawn,
                num_inference_steps=num_steps,
                guidance_scale=self._settings.guidance_scale,
                **more,
            ).images
        return edited

    def _encode(self, images: list[Image], drawn: list[Any]) -> Any:
        """Scaled latents (B, C, h, w), drawn from the posterior by each row's generator, one row at a time."""
        import torch

        pipeline = self._pipeline
        pixels_BCHW = pipeline.image_processor.preprocess(images).to(pipeline.device, pipeline.vae.dtype)
        rows = [
            pipeline.vae.encode(pixels_BCHW[row : row + 1]).latent_dist.sample(generator)
            for row, generator in enumerate(drawn)
        ]
        return torch.cat(rows) * pipeline.vae.config.scaling_factor


def _coming_noise(latent_BChw: Any, drawn: list[Any]) -> Any:
    """The noise that each row's generator will give next. The generators' states are restored."""
    from diffusers.utils.torch_utils import randn_tensor

    states = [generator.get_state() for generator in drawn]
    noise_BChw = randn_tensor(latent_BChw.shape, generator=drawn, device=latent_BChw.device, dtype=latent_BChw.dtype)
    for generator, state in zip(drawn, states, strict=True):
        generator.set_state(state)
    return noise_BChw


def _as_pure_noise(noise_BChw: Any, scheduler: Any) -> Any:
    """The source for which the first latent of the pipeline is `noise_BChw` alone.

    The pipeline adds noise as sqrt(a) z + sqrt(1 - a) e, and at the first timestep a is not quite 0.
    """
    alpha = scheduler.alphas_cumprod[scheduler.timesteps[0].cpu()]
    return noise_BChw * float((1 - (1 - alpha).sqrt()) / alpha.sqrt())


def _kept_outside(source_BChw: Any, noise_BChw: Any, masks: list[Bools]) -> Callable[..., dict[str, Any]]:
    """A callback that puts the source back after each step where the mask is false: iEdit, equation 13."""
    import torch
    from torch.nn.functional import interpolate

    size = source_BChw.shape[-2:]
    shrunk = [interpolate(torch.from_numpy(mask)[None, None].float(), size, mode="area") for mask in masks]
    mask_B1hw: Any = torch.cat(shrunk).to(source_BChw)

    def after_step(pipeline: Any, _step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        scheduler = pipeline.scheduler
        later = scheduler.timesteps[scheduler.timesteps < timestep]
        kept_BChw = scheduler.add_noise(source_BChw, noise_BChw, later[:1]) if len(later) else source_BChw
        return {"latents": (1 - mask_B1hw) * kept_BChw + mask_B1hw * tensors["latents"]}

    return after_step
