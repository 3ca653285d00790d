"""Guidance by text and by example: up to three evaluations of a UNet and its control network in one batch.

Source  Brooks et al. 2023, InstructPix2Pix, equation 3, with the example in the place of the image; Zhang et al. 2023,
ControlNet. Chosen: InstructGIE does not say how its images are guided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.diffusion.visual_prompt.control_net import control
from models.diffusion.visual_prompt.grid import without_examples

if TYPE_CHECKING:
    from models.diffusion.text_conditions import TextCondition
    from models.diffusion.visual_prompt.settings import VisualPromptSettings

# B rows, N rows of all evaluations, C channels of a latent of h w, H W pixels of a grid, L tokens, D embedding


@dataclass(frozen=True, slots=True, eq=False)
class PromptConditions:
    """Everything that the networks see besides the noisy latents of B rows."""

    text: TextCondition
    nothing: TextCondition
    """One row: no text."""
    grid_BCHW: Any
    """Images from -1 to 1 whose output cell is grey."""


class GuidedControl:
    """A UNet and its control network with the conditions of one batch: a call gives the guided output.

    It is e(q, -) + s_E (e(q + E, -) - e(q, -)) + s_T (e(q + E, T) - e(q + E, -)) for query q, example E and text T. A
    text guidance of 1 or less is no guidance at all: one evaluation, with query, example and text. With an example
    guidance of 1 the evaluation without example cancels out and is left out.
    """

    def __init__(self, unet: Any, net: Any, conditions: PromptConditions, settings: VisualPromptSettings) -> None:
        import torch

        self._unet, self._net, self._settings = unet, net, settings
        text_scale, example_scale = settings.guidance_scale, settings.example_guidance_scale
        self.num_evaluations = 1 if text_scale <= 1 else 2 if example_scale == 1 else 3
        grid_BCHW, num_rows = conditions.grid_BCHW, len(conditions.grid_BCHW)
        all_rows = torch.ones(num_rows, dtype=torch.bool, device=grid_BCHW.device)
        grids = [grid_BCHW, grid_BCHW, without_examples(grid_BCHW, all_rows)]
        self._grid_NCHW = torch.cat(grids[: self.num_evaluations])
        without = [conditions.nothing.tokens_BLD] * num_rows * (self.num_evaluations - 1)
        self._tokens_NLD = torch.cat([conditions.text.tokens_BLD, *without]).to(unet.dtype)

    def __call__(self, noisy_BChw: Any, timestep: Any) -> Any:
        """The output (B, C, h, w), float32."""
        import torch

        noisy_NChw = torch.cat([noisy_BChw] * self.num_evaluations).to(self._unet.dtype)
        added = control(self._net, noisy_NChw, timestep, self._tokens_NLD, self._grid_NCHW)
        scale = self._settings.control_scale
        conditions = added._replace(down=tuple(one * scale for one in added.down), mid=added.mid * scale)
        out_NChw = self._unet(noisy_NChw, timestep, self._tokens_NLD, **conditions.as_conditions()).sample.float()
        if self.num_evaluations == 1:
            return out_NChw
        whole, no_text, *no_example = out_NChw.chunk(self.num_evaluations)
        guided = no_text + self._settings.guidance_scale * (whole - no_text)
        if no_example:
            # s_E (e(q + E, -) - e(q, -)) + e(q, -), less the e(q + E, -) that is there already
            guided = guided + (self._settings.example_guidance_scale - 1) * (no_text - no_example[0])
        return guided
