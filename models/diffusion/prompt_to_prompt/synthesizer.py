"""Prompt-to-prompt through diffusers: a PairSynthesizer over checkpoints of SD 1.x, 2.x, SDXL and their Turbo kinds.

Networks of nine channels, trained to inpaint, serve too. Not served: refiners, and networks that take a guidance scale
as a condition.

Source  Hertz et al. 2022, Prompt-to-Prompt; Brooks et al. 2023, InstructPix2Pix, for pairs as training data; Zhao et
al. 2024, UltraEdit, for the anchor and the region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from core.settings import checked
from models.batches import alike, same_length
from models.diffusion.decoding import decoded
from models.diffusion.prompt_to_prompt.prepare import PreparedPair, Preparer
from models.diffusion.prompt_to_prompt.released import ReleasedSampler
from models.diffusion.prompt_to_prompt.sampler import PairSampler, is_guided
from models.diffusion.prompt_to_prompt.settings import PairSettings
from models.diffusion.prompt_to_prompt.steps import steps_run
from models.diffusion.schedule import GLOBAL_NOISE
from models.diffusion.unet_inputs import INPAINTING_CHANNELS
from models.placement import in_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from models.placement import Placement
    from models.protocols import PairCandidate, PairRequest
    from models.schemes.weights import Weights

# R rows: N sources, then their N targets; C channels of a latent of h w


class PromptToPrompt:
    """A PairSynthesizer over a pipeline of diffusers, with the checkpoint's scheduler.

    `placement.batch_size` counts pairs. A checkpoint that comes with a safety checker keeps it: an image that it
    rejects is black.
    """

    Settings: ClassVar = PairSettings

    def __init__(self, weights: Weights, placement: Placement, **settings: Any) -> None:
        """Load the checkpoint. Raises SettingError, and ValueError for a network that cannot serve."""
        import torch
        from diffusers import DiffusionPipeline

        self._settings = checked(PairSettings, settings, f"pairs of {weights.model_id}")
        pipeline: Any = DiffusionPipeline.from_pretrained(
            weights.location, dtype=placement.torch_dtype(), **weights.pretrained_arguments()
        )
        _check(pipeline, weights.model_id)
        if pipeline.vae.config.force_upcast and pipeline.vae.dtype == torch.float16:
            pipeline.vae.to(torch.float32)  # SDXL's autoencoder overflows in half precision
        self._pipeline = pipeline.to(placement.torch_device())
        self._batch_size = placement.batch_size
        self._preparer = Preparer(pipeline, self._settings, placement.batch_size)
        sampler = ReleasedSampler if self._settings.as_released else PairSampler
        self._sampler = sampler(pipeline, self._settings, self._preparer.without_text())
        self._keeps_outside = self._settings.keeps_outside and not self._settings.as_released

    def prepare(self, requests: Sequence[PairRequest]) -> list[PreparedPair]:
        """What no candidate changes, once a request.

        The anchor's longer side is scaled to `size_px`, its shape kept. Captions are cut as the text encoder cuts them,
        and the words that are left are aligned. Raises ValueError for a mask that is no mask of its anchor, and for a
        word that is not in its caption.
        """
        if self._settings.source == "photograph" and any(one.anchor is None for one in requests):
            row = next(row for row, one in enumerate(requests) if one.anchor is None)
            raise ValueError(f"request {row} has no anchor; source = 'photograph' needs one")
        return self._preparer.prepare(requests)

    def synthesise(
        self, prepared: Sequence[PreparedPair], candidates: Sequence[PairCandidate]
    ) -> list[tuple[Image, Image]]:
        """(source, target) a candidate, of the anchor's size or, without anchor, of the network's, RGB.

        A batch holds candidates of any requests that are alike in size, in steps and in being guided. A seed decides a
        pair's noise alone, drawn on the CPU. Where all steps are run nothing of the anchor is left to start from.
        Without an anchor all are run, whatever the strength.
        """
        same_length(prepared=prepared, candidates=candidates)

        def run(rows: Sequence[int]) -> list[tuple[Image, Image]]:
            import torch

            pairs = [prepared[row] for row in rows]
            with torch.inference_mode():
                latent_RChw = self._sampler.sample(pairs, [candidates[row] for row in rows])
                images = decoded(self._pipeline, latent_RChw)
            return [self._finished(*both) for both in zip(pairs, images, images[len(rows) :], strict=False)]

        results: dict[int, tuple[Image, Image]] = {}
        for rows in alike(_kind(*both) for both in zip(prepared, candidates, strict=True)):
            results |= zip(rows, in_batches(run, rows, self._batch_size), strict=True)
        return [results[row] for row in range(len(candidates))]

    def _finished(self, prepared: PreparedPair, source: Image, target: Image) -> tuple[Image, Image]:
        """The pair at the anchor's size, with the anchor's pixels where they are to be kept."""
        if prepared.anchor is None:
            return source, target
        if self._settings.source == "photograph":
            return prepared.anchor.copy(), self._at_home(prepared, target)
        return self._at_home(prepared, source), self._at_home(prepared, target)

    def _at_home(self, prepared: PreparedPair, image: Image) -> Image:
        """One image at its anchor's size."""
        import numpy as np
        from PIL import Image

        anchor, region_HW = prepared.anchor, prepared.region_HW
        assert anchor is not None
        resized = image.resize(anchor.size, Image.Resampling.LANCZOS)
        if region_HW is None or not self._keeps_outside:
            return resized
        return Image.composite(resized, anchor, Image.fromarray(region_HW.astype(np.uint8) * 255))


def _kind(prepared: PreparedPair, candidate: PairCandidate) -> tuple[object, ...]:
    """Pairs with equal ones run in one batch."""
    run = steps_run(prepared, candidate)
    return candidate.num_steps, run, is_guided(candidate), prepared.latent_size, prepared.latent_Chw is None


def _check(pipeline: Any, model_id: str) -> None:
    channels, latent = pipeline.unet.config.in_channels, pipeline.vae.config.latent_channels
    if channels not in (latent, INPAINTING_CHANNELS):
        raise ValueError(
            f"the UNet of {model_id} takes {channels} channels, pairs need {latent} or {INPAINTING_CHANNELS}; "
            "name a checkpoint that draws or inpaints"
        )
    if pipeline.unet.config.time_cond_proj_dim:
        raise ValueError(f"the UNet of {model_id} takes the guidance scale as a condition; name another checkpoint")
    if (name := type(pipeline.scheduler).__name__) in GLOBAL_NOISE:
        raise ValueError(f"{model_id}: {name} draws noise that no seed of a row decides; name another checkpoint")
