"""Guidance by text and by image: up to three evaluations of a UNet in one batch.

Source  Brooks et al. 2023, InstructPix2Pix, section 3.2.1, equation 3; Zhao et al. 2024, UltraEdit, for the region.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.diffusion.text_conditions import TextCondition

# B rows, N rows of all evaluations, C channels of a latent of h w, L tokens, D embedding


@dataclass(frozen=True, slots=True, eq=False)
class EditConditions:
    """Everything that the UNet sees besides the noisy latents of B rows."""

    text: TextCondition
    nothing: TextCondition
    """One row: no text."""
    seen_BChw: Any
    """Latents of the source and, for a region editor, of the region below it: modes, not scaled."""
    size_px: tuple[int, int]
    """(height, width) of the images, as SDXL is told."""


class GuidedUnet:
    """A UNet with the conditions of one batch: a call gives its guided output.

    It is e(-, -) + s_I (e(c_I, -) - e(-, -)) + s_T (e(c_I, c_T) - e(c_I, -)), where an image that is left out, and its
    region, are zeros. As in diffusers a text guidance of 1 or less is no guidance at all: one evaluation, of image and
    text. With an image guidance of 1 the evaluation without either cancels out and is left out.
    """

    def __init__(
        self, unet: Any, conditions: EditConditions, *, guidance_scale: float, image_guidance_scale: float
    ) -> None:
        import torch

        self._unet, self._text_scale, self._image_scale = unet, guidance_scale, image_guidance_scale
        self.num_evaluations = 1 if guidance_scale <= 1 else 2 if image_guidance_scale == 1 else 3
        text, nothing, seen_BChw = conditions.text, conditions.nothing, conditions.seen_BChw
        num_rows, without = len(seen_BChw), self.num_evaluations - 1
        self._tokens_NLD = torch.cat([text.tokens_BLD, *[nothing.tokens_BLD] * num_rows * without]).to(unet.dtype)
        seen = [seen_BChw, seen_BChw, torch.zeros_like(seen_BChw)]
        self._seen_NChw = torch.cat(seen[: self.num_evaluations]).to(unet.dtype)
        self._added = None
        if text.pooled_BD is not None:
            pooled_ND = torch.cat([text.pooled_BD, *[nothing.pooled_BD] * num_rows * without]).to(unet.dtype)
            sizes_16 = torch.tensor([[*conditions.size_px, 0, 0, *conditions.size_px]], device=unet.device)
            self._added = {"text_embeds": pooled_ND, "time_ids": sizes_16.to(unet.dtype).expand(len(pooled_ND), -1)}

    def __call__(self, latent_BChw: Any, timestep: Any) -> Any:
        """The guided output (B, C, h, w), float32, for latents scaled as the scheduler says."""
        import torch

        latent_NChw = torch.cat([latent_BChw] * self.num_evaluations).to(self._unet.dtype)
        output_NChw = self._unet(
            torch.cat([latent_NChw, self._seen_NChw], dim=1), timestep, encoder_hidden_states=self._tokens_NLD,
            added_cond_kwargs=self._added, return_dict=False,
        )[0].float()  # fmt: skip
        if self.num_evaluations == 1:
            return output_NChw
        whole_BChw, image_BChw, *neither = output_NChw.chunk(self.num_evaluations)
        by_text_BChw = self._text_scale * (whole_BChw - image_BChw)
        if not neither:
            return image_BChw + by_text_BChw
        return neither[0] + by_text_BChw + self._image_scale * (image_BChw - neither[0])
