"""SDEdit over Stable Diffusion through diffusers: noise a source part of the way, denoise it towards a text.

With masks the source is put back outside them after every step. Serves latent diffusion of Stable Diffusion 1 and 2,
where the network takes the latent alone; not SDXL, and no network trained to inpaint or to read a source image.

Source  Meng et al. 2022, SDEdit; Song et al. 2021, DDIM; masks: Bodur et al. 2023, iEdit, equation 13.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from models.batches import alike, as_rgb, same_length
from models.diffusion.text_to_image import generators
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import Bools
    from models.schemes.weights import Weights

# B rows, C channels, H W pixels of an image as passed in, h w of its latent


class SdEdit:
    """An ImageEditor over a Stable Diffusion checkpoint, sampled by DDIM with the checkpoint's noise schedule.

    The longer side of an image is scaled to `size_px` (None: the side that the network was made for), its shape kept,
    both sides rounded to what the network can halve and double again: for Stable Diffusion 1 to 512 and multiples of 64
    pixels. A checkpoint that comes with a safety checker keeps it: what it objects to comes back black.
    """

    def __init__(self, weights: Weights, placement: Placement, *, size_px: int | None = None) -> None:
        """Load the checkpoint. Raises ValueError when its network takes something else than a text and a latent."""
        from diffusers import StableDiffusionImg2ImgPipeline

        _refuse_other_pipelines(weights)
        pipeline: Any = StableDiffusionImg2ImgPipeline.from_pretrained(
            weights.location, dtype=placement.torch_dtype(), **weights.pretrained_arguments()
        )
        channels, wanted = pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels
        if channels != wanted:
            raise ValueError(
                f"the UNet of {weights.model_id} takes {channels} channels, SDEdit needs {wanted}; "
                "name a text-to-image checkpoint"
            )
        self._take(pipeline.to(placement.torch_device()), placement.batch_size, size_px)

    @classmethod
    def over(cls, pipeline: Any, *, batch_size: int, size_px: int | None = None) -> Self:
        """The editor over a StableDiffusionPipeline in memory, whose modules stay where and as they are.

        A safety checker is left out: it need not lie on the device that the other modules are on.
        """
        from diffusers import StableDiffusionImg2ImgPipeline

        editor = cls.__new__(cls)
        without = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        parts = StableDiffusionImg2ImgPipeline(**{**pipeline.components, **without})
        editor._take(parts, batch_size, size_px)  # noqa: SLF001  its own class
        return editor

    def _take(self, pipeline: Any, batch_size: int, size_px: int | None) -> None:
        from diffusers import DDIMScheduler

        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, clip_sample=False)
        pipeline.set_progress_bar_config(disable=True)
        self._pipeline = pipeline
        self._multiple_px = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
        self._size_px = size_px or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
        self._batch_size = batch_size

    def edit(
        self,
        images: Sequence[Image],
        prompts: Sequence[str],
        *,
        seeds: Sequence[int],
        num_steps: int,
        guidance_scale: float,
        sampling_ratio: float,
        masks: Sequence[Bools] | None = None,
    ) -> list[Image]:
        """One image a row, RGB, at the image's own size; a seed alone decides a row's noise, whatever the batch.

        A prompt describes the edited image. Of `num_steps` the last floor(num_steps * sampling_ratio) are run: with
        ratio 0 the images come back as they are, with 1 nothing of them is left to start from, and the result is that
        of text to image. Where a (H, W) mask is true the image may change; after each step the latent elsewhere is that
        of the source, noised to the step's level with the row's own noise, and after the last without noise. Masks are
        shrunk to latents by area, so that a latent pixel on the edge holds a mixture. A guidance scale of 1 or less is
        no guidance. Raises ValueError for lists of different length, masks of another size and settings out of range.
        """
        same_length(images=images, prompts=prompts, seeds=seeds, **({} if masks is None else {"masks": masks}))
        _check(num_steps, guidance_scale, sampling_ratio)
        if masks is not None:
            _check_masks(images, masks)
        rgb = as_rgb(images)
        num_run = math.floor(num_steps * sampling_ratio + 1e-9)  # 0.57 * 100 is a little less than 57
        if num_run == 0:
            return [image.copy() for image in rgb]
        sizes = [self._fitted(image) for image in rgb]
        settings = {"num_inference_steps": num_steps, "guidance_scale": guidance_scale}

        def run(rows: Sequence[int]) -> list[Image]:
            from PIL import Image

            edited = self._edit(
                [rgb[row].resize(sizes[row], Image.Resampling.LANCZOS) for row in rows],
                [prompts[row] for row in rows],
                [seeds[row] for row in rows],
                None if masks is None else [masks[row] for row in rows],
                num_run,
                settings,
            )
            lanczos = Image.Resampling.LANCZOS
            return [image.resize(rgb[row].size, lanczos) for image, row in zip(edited, rows, strict=True)]

        results: dict[int, Image] = {}
        for rows in alike(sizes):
            results |= zip(rows, in_batches(run, rows, self._batch_size), strict=True)
        return [results[row] for row in range(len(rgb))]

    def _fitted(self, image: Image) -> tuple[int, int]:
        """(width, height) at which the network sees an image."""
        scale = self._size_px / max(image.size) / self._multiple_px
        width, height = (max(1, round(side * scale)) * self._multiple_px for side in image.size)
        return width, height

    def _edit(
        self,
        images: list[Image],
        prompts: list[str],
        seeds: list[int],
        masks: list[Bools] | None,
        num_run: int,
        settings: dict[str, Any],
    ) -> list[Image]:
        """Images of one size, edited at that size."""
        import torch

        pipeline, drawn = self._pipeline, generators(seeds)
        pipeline.scheduler.set_timesteps(settings["num_inference_steps"], device=pipeline.device)
        with torch.inference_mode():
            source_BChw = self._encode(images, drawn)
            noise_BChw = _noise_to_come(source_BChw, drawn)
            more = {} if masks is None else {"callback_on_step_end": _kept_outside(source_BChw, noise_BChw, masks)}
            if num_run == settings["num_inference_steps"]:
                source_BChw = _drowned(noise_BChw, pipeline.scheduler)
            edited: list[Image] = pipeline(
                prompt=prompts,
                image=source_BChw,
                # half a step more, so that rounding cannot lose one; the pipeline takes the integer part
                strength=min(1.0, (num_run + 0.5) / settings["num_inference_steps"]),
                generator=drawn,
                **settings,
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


def _noise_to_come(latent_BChw: Any, drawn: list[Any]) -> Any:
    """The noise that each row's generator gives next, the generators as they were."""
    from diffusers.utils.torch_utils import randn_tensor

    states = [generator.get_state() for generator in drawn]
    noise_BChw = randn_tensor(latent_BChw.shape, generator=drawn, device=latent_BChw.device, dtype=latent_BChw.dtype)
    for generator, state in zip(drawn, states, strict=True):
        generator.set_state(state)
    return noise_BChw


def _drowned(noise_BChw: Any, scheduler: Any) -> Any:
    """What the pipeline has to be given as the source, so that its first latent is `noise_BChw` and nothing else.

    It adds noise as sqrt(a) z + sqrt(1 - a) e, and at the first timestep a is not quite 0.
    """
    alpha = scheduler.alphas_cumprod[scheduler.timesteps[0].cpu()]
    return noise_BChw * float((1 - (1 - alpha).sqrt()) / alpha.sqrt())


def _kept_outside(source_BChw: Any, noise_BChw: Any, masks: list[Bools]) -> Callable[..., dict[str, Any]]:
    """A callback after each step, which puts the source back where the mask is false: iEdit, equation 13."""
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


def _refuse_other_pipelines(weights: Weights) -> None:
    """Raises ValueError for SDXL and whatever else is not made of the parts of Stable Diffusion 1."""
    index = Path(weights.location) / "model_index.json"
    if not index.is_file():
        return
    parts = json.loads(index.read_bytes())
    if "text_encoder_2" in parts or not {"vae", "unet", "text_encoder", "tokenizer", "scheduler"} <= parts.keys():
        raise ValueError(
            f"{weights.model_id} is a {parts.get('_class_name')}, SDEdit runs on StableDiffusionPipeline; "
            "name a checkpoint of Stable Diffusion 1 or 2"
        )


def _check(num_steps: int, guidance_scale: float, sampling_ratio: float) -> None:
    if num_steps < 1:
        raise ValueError(f"num_steps is {num_steps}; expected at least 1")
    if not 0 <= sampling_ratio <= 1:
        raise ValueError(f"sampling_ratio is {sampling_ratio}; expected 0 (the source) to 1 (pure noise)")
    if not math.isfinite(guidance_scale):
        raise ValueError(f"guidance_scale is {guidance_scale}; expected a finite number, such as 7.5")


def _check_masks(images: Sequence[Image], masks: Sequence[Bools]) -> None:
    for row, (image, mask_HW) in enumerate(zip(images, masks, strict=True)):
        if mask_HW.shape != (image.height, image.width) or mask_HW.dtype != bool:
            raise ValueError(
                f"mask {row} is {mask_HW.dtype} of shape {mask_HW.shape}, its image is {image.width} x {image.height} "
                "pixels; pass booleans of (height, width)"
            )
