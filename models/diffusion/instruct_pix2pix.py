"""InstructPix2Pix: edits images by instruction with a UNet that sees the source image beside the noisy latent.

Serves checkpoints of SD 1.x, 2.x and SDXL: of eight input channels (noisy latent, source) as diffusers runs them, and
of twelve (noisy latent, source, region), which were trained with the region that the edit may change. A region is a
hint that the network has learnt, so nothing is put back outside of it.

Source  Brooks et al. 2023, InstructPix2Pix; Zhao et al. 2024, UltraEdit, appendix A.4, for the region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from core.errors import UsageError
from models.batches import alike, as_rgb, same_length
from models.diffusion.decoding import decoded
from models.diffusion.edit_requests import check_masks, texts_of
from models.diffusion.editor_kinds import CLASS_OF
from models.diffusion.image_guidance import EditConditions, GuidedUnet
from models.diffusion.lora import merge_lora
from models.diffusion.noise import first_noise, generators
from models.diffusion.pix2pix_settings import InstructPix2PixSettings
from models.diffusion.schedule import GLOBAL_NOISE, Schedule
from models.diffusion.text_conditions import with_and_without
from models.diffusion.working_size import working_size
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import EditRequest
    from models.schemes.weights import Weights

# B rows, C channels of a latent of h w

SCHEDULERS = {"ddim": "DDIMScheduler", "euler_ancestral": "EulerAncestralDiscreteScheduler"}
"""Values of the setting `scheduler`, besides `checkpoint` -> class of diffusers."""


class InstructPix2Pix:
    """An Editor over a checkpoint of eight input channels.

    The longer side of an image is scaled to `size_px`, its shape kept, both sides rounded to what the network can halve
    and double again. LoRA weights in the checkpoint's folder `lora` are merged. A checkpoint that comes with a safety
    checker keeps it: an image that it rejects is black.
    """

    Settings: ClassVar = InstructPix2PixSettings
    needs: frozenset[str] = frozenset({"instruction"})
    uses: frozenset[str] = frozenset()
    trained_on: frozenset[str] = frozenset()
    takes_region: ClassVar[bool] = False

    def __init__(self, weights: Weights, placement: Placement, settings: InstructPix2PixSettings) -> None:
        """Load the checkpoint. Raises UsageError, before it loads weights, for a UNet of other input channels."""
        import diffusers
        import torch

        arguments = weights.pretrained_arguments()
        self._check_width(weights)
        index = diffusers.DiffusionPipeline.load_config(weights.location, **_without_safetensors(arguments))
        pipeline: Any = getattr(diffusers, CLASS_OF[index["_class_name"]]).from_pretrained(
            weights.location, dtype=placement.torch_dtype(), **arguments
        )
        if pipeline.vae.config.force_upcast and pipeline.vae.dtype == torch.float16:
            pipeline.vae.to(torch.float32)  # SDXL's autoencoder overflows in half precision
        merge_lora(pipeline, weights.location)
        self._take(pipeline.to(placement.torch_device()), settings, placement.batch_size, checks_safety=True)

    @classmethod
    def over(cls, pipeline: Any, settings: InstructPix2PixSettings, *, batch_size: int) -> Self:
        """The editor over a pipeline of SD or SDXL in memory, whose modules stay where and as they are.

        A safety checker is left out: it need not lie on the device that the other modules are on.
        """
        editor = cls.__new__(cls)
        editor._take(pipeline, settings, batch_size, checks_safety=False)  # noqa: SLF001  its own class
        return editor

    @classmethod
    def _check_width(cls, weights: Weights) -> None:
        from diffusers import UNet2DConditionModel

        config = UNet2DConditionModel.load_config(
            weights.location, subfolder="unet", **_without_safetensors(weights.pretrained_arguments())
        )
        latent, channels = config["out_channels"], config["in_channels"]
        wanted = latent * (3 if cls.takes_region else 2)
        if channels != wanted:
            with_region = "noisy latent, source, region" if cls.takes_region else "noisy latent, source"
            raise UsageError(
                f"the UNet of model {weights.model_id!r} takes {channels} channels, its kind of editor {wanted} "
                f"({with_region}); name another checkpoint, or the class of this one in its model_index.json"
            )

    def _take(self, pipeline: Any, settings: InstructPix2PixSettings, batch_size: int, *, checks_safety: bool) -> None:
        self._pipeline, self._settings, self._batch_size = pipeline, settings, batch_size
        self._checks_safety = checks_safety
        self._scheduler = _scheduler(pipeline.scheduler, settings.scheduler)
        self._multiple_px = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
        self._size_px = settings.size_px or pipeline.unet.config.sample_size * pipeline.vae_scale_factor

    def edit(self, requests: Sequence[EditRequest], *, seeds: Sequence[int]) -> list[Image]:
        """One image a request, RGB, at the image's own size. The noise depends on the request's seed alone.

        A region editor takes the whole image as the region of a request without mask. Raises ValueError for lists of
        different length, a request without instruction, and for a mask of another size.
        """
        same_length(requests=requests, seeds=seeds)
        instructions = texts_of(requests, "instruction", "this editor is led by it")
        check_masks(requests)
        rgb = as_rgb(one.image for one in requests)
        sizes = [working_size(image.size, self._size_px, self._multiple_px) for image in rgb]

        def run(rows: Sequence[int]) -> list[Image]:
            from PIL import Image

            lanczos, size = Image.Resampling.LANCZOS, sizes[rows[0]]
            seen = [[rgb[row].resize(size, lanczos) for row in rows]]
            if self.takes_region:
                seen.append([_region(requests[row], size) for row in rows])
            edited = self._edit(seen, [instructions[row] for row in rows], [seeds[row] for row in rows])
            return [image.resize(rgb[row].size, lanczos) for image, row in zip(edited, rows, strict=True)]

        results: dict[int, Image] = {}
        for rows in alike(sizes):
            results |= zip(rows, in_batches(run, rows, self._batch_size), strict=True)
        return [results[row] for row in range(len(rgb))]

    def _edit(self, seen: list[list[Image]], instructions: list[str], seeds: list[int]) -> list[Image]:
        import torch

        with torch.inference_mode():
            latent_BChw = self._sample(seen, instructions, seeds)
            return decoded(self._pipeline, latent_BChw, checks_safety=self._checks_safety)

    def _sample(self, seen: list[list[Image]], instructions: list[str], seeds: list[int]) -> Any:
        """Scaled latents (B, C, h, w), float32, of edited images. `seen` has the sources, then the regions if any."""
        import torch

        unet = self._pipeline.unet
        text, nothing = with_and_without(self._pipeline, instructions)
        latents = [self._encode(images) for images in seen]
        width, height = seen[0][0].size
        conditions = EditConditions(text, nothing, torch.cat(latents, dim=1), (height, width))
        guided = GuidedUnet(
            unet, conditions, guidance_scale=self._settings.guidance_scale,
            image_guidance_scale=self._settings.image_guidance_scale,
        )  # fmt: skip
        num_steps = self._settings.num_steps
        schedule = Schedule(self._scheduler, num_steps=num_steps, num_run=num_steps, device=unet.device)
        drawn = generators(seeds)
        latent_BChw = schedule.pure(first_noise(drawn, latents[0].shape[1:], unet.device))
        for step in range(len(schedule)):
            output_BChw = guided(schedule.scaled(latent_BChw, step), schedule.timesteps[step])
            latent_BChw = schedule.stepped(output_BChw, latent_BChw, step, drawn)
        return latent_BChw

    def _encode(self, images: list[Image]) -> Any:
        """The posteriors' modes (B, C, h, w), not scaled unless the checkpoint was trained so, float32."""
        pipeline = self._pipeline
        pixels_BCHW = pipeline.image_processor.preprocess(images).to(pipeline.unet.device, pipeline.vae.dtype)
        mode_BChw = pipeline.vae.encode(pixels_BCHW).latent_dist.mode().float()
        return mode_BChw * (pipeline.vae.config.scaling_factor if getattr(pipeline, "is_cosxl_edit", False) else 1.0)


class RegionInstructPix2Pix(InstructPix2Pix):
    """An Editor over a checkpoint of twelve input channels, which takes a region too.

    The region is an RGB image, white where the image may change and black elsewhere, through the autoencoder.
    """

    uses: frozenset[str] = frozenset({"mask"})
    trained_on: frozenset[str] = frozenset({"mask"})
    takes_region: ClassVar[bool] = True


def _region(request: EditRequest, size: tuple[int, int]) -> Image:
    """The region as an image of `size`, (width, height): white where the image may change."""
    import numpy as np
    from PIL import Image

    if request.mask is None:
        return Image.new("RGB", size, "white")
    mask = Image.fromarray(request.mask.astype(np.uint8) * 255)
    return mask.resize(size, Image.Resampling.NEAREST).convert("RGB")


def _scheduler(own: Any, name: str) -> Any:
    """The scheduler of the setting. Raises ValueError for one whose noise no seed of a row decides."""
    import diffusers

    if name != "checkpoint":
        # latents are not between -1 and 1; a scheduler without the setting ignores it
        more = {"clip_sample": False} if name == "ddim" else {}
        return getattr(diffusers, SCHEDULERS[name]).from_config(own.config, **more)
    if (kind := type(own).__name__) in GLOBAL_NOISE:
        raise ValueError(f"{kind} draws noise that no seed of a row decides; set scheduler to ddim")
    return own


def _without_safetensors(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `from_pretrained` that reading a configuration has too."""
    return {name: value for name, value in arguments.items() if name != "use_safetensors"}
