"""The sampling loop of a batch of pairs: their latents from noise, with attention shared and regions kept.

Rows of a batch are N sources, then their N targets. Under guidance the same rows without text go before them.

Source  Hertz et al. 2022, Prompt-to-Prompt; Meng et al. 2022, SDEdit, for the start from a noised anchor; Zhao et al.
2024, UltraEdit, for the region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.diffusion.noise import first_noise
from models.diffusion.prompt_to_prompt.attention import control
from models.diffusion.prompt_to_prompt.blend import made_anew, puts_back
from models.diffusion.prompt_to_prompt.plan import AttentionPlan
from models.diffusion.prompt_to_prompt.steps import pair_generators, steps_run
from models.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.diffusion.prompt_to_prompt.prepare import PreparedPair
    from models.diffusion.prompt_to_prompt.settings import PairSettings
    from models.diffusion.text_conditions import TextCondition
    from models.protocols import PairCandidate

# R rows: N sources, then their N targets; B rows of the network; C channels of a latent of h w; L tokens, D embedding


class Network:
    """The UNet with the conditions of one batch: a call gives its guided output."""

    def __init__(
        self, unet: Any, prepared: Sequence[PreparedPair], candidates: Sequence[PairCandidate], nothing: TextCondition,
    ) -> None:  # fmt: skip
        """`nothing` is the text of the rows without text."""
        import torch

        self._unet, num_pairs = unet, len(prepared)
        self.is_guided = is_guided(candidates[0])
        scales = torch.tensor([one.guidance_scale for one in candidates] * 2, device=unet.device)
        self._scale_R111 = scales[:, None, None, None]
        parts = [one.text.tokens_BLD[side : side + 1] for side in (0, 1) for one in prepared]
        unguided = [nothing.tokens_BLD] * 2 * num_pairs if self.is_guided else []
        self._tokens_BLD = torch.cat([*unguided, *parts]).to(unet.dtype)
        self._added = self._size_condition(prepared, nothing) if nothing.pooled_BD is not None else None
        more = [one.more_channels_Chw for one in prepared]
        self._more_RChw = None if more[0] is None else torch.stack(more + more)

    @property
    def first_row(self) -> int:
        """The first row with text."""
        return len(self._scale_R111) if self.is_guided else 0

    def _size_condition(self, prepared: Sequence[PreparedPair], nothing: TextCondition) -> dict[str, Any]:
        """The pooled texts and sizes that SDXL takes: the image's own size, uncropped."""
        import torch

        parts = [one.text.pooled_BD[side : side + 1] for side in (0, 1) for one in prepared]
        pooled_BD = torch.cat([*([nothing.pooled_BD] * len(parts) if self.is_guided else []), *parts])
        size = list(prepared[0].size_px)
        times = torch.tensor([[*size, 0, 0, *size]], device=self._unet.device, dtype=self._unet.dtype)
        return {"text_embeds": pooled_BD.to(self._unet.dtype), "time_ids": times.expand(len(pooled_BD), -1)}

    def __call__(self, latent_RChw: Any, timestep: Any) -> Any:
        """(R, C, h, w), float32."""
        import torch

        inputs = latent_RChw if self._more_RChw is None else torch.cat([latent_RChw, self._more_RChw], dim=1)
        inputs = (torch.cat([inputs, inputs]) if self.is_guided else inputs).to(self._unet.dtype)
        output = self._unet(
            inputs, timestep, encoder_hidden_states=self._tokens_BLD, added_cond_kwargs=self._added, return_dict=False
        )[0].float()
        if not self.is_guided:
            return output
        without, output = output.chunk(2)
        return without + self._scale_R111 * (output - without)


class PairSampler:
    """Samples the latents of batches of pairs. The UNet it is given gets processors of pairs, once."""

    def __init__(self, pipeline: Any, settings: PairSettings, nothing: TextCondition) -> None:
        self._unet, self._scheduler, self._settings, self._nothing = (
            pipeline.unet, pipeline.scheduler, settings, nothing,
        )  # fmt: skip
        self._latent_channels = pipeline.vae.config.latent_channels
        self._shared = control(pipeline.unet)

    def sample(self, prepared: Sequence[PreparedPair], candidates: Sequence[PairCandidate]) -> Any:
        """Latents (R, C, h, w), float32, without noise.

        The pairs are alike in size, in steps run, in having an anchor and in being guided.
        """
        import torch

        first, settings = candidates[0], self._settings
        num_run = steps_run(prepared[0], first)
        schedule = Schedule(self._scheduler, num_steps=first.num_steps, num_run=num_run, device=self._unet.device)
        network = Network(self._unet, prepared, candidates, self._nothing)
        plan = AttentionPlan(
            self._shared, prepared, candidates, settings, num_calls=len(schedule), first_row=network.first_row
        )
        drawn = pair_generators([one.seed for one in candidates], shares_noise=settings.shares_noise)
        noise_RChw = first_noise(drawn, (self._latent_channels, *prepared[0].latent_size), self._unet.device)
        anchors = [one.latent_Chw for one in prepared]
        anchor_RChw: Any = None if anchors[0] is None else torch.stack(anchors + anchors)
        anew_R1hw = made_anew(prepared, candidates)
        is_pure = anchor_RChw is None or schedule.is_whole
        latent_RChw = schedule.pure(noise_RChw) if is_pure else schedule.noised(anchor_RChw, noise_RChw, 0)
        is_photograph = settings.source == "photograph"
        if is_photograph:
            latent_RChw = _photographed(latent_RChw, schedule.noised(anchor_RChw, noise_RChw, 0))
        for step in range(len(schedule)):
            plan.set(step)
            output_RChw = network(schedule.scaled(latent_RChw, step), schedule.timesteps[step])
            latent_RChw = schedule.stepped(output_RChw, latent_RChw, step, drawn)
            if anew_R1hw is not None and puts_back(settings, step, len(schedule)):
                kept_RChw = schedule.noised(anchor_RChw, noise_RChw, step + 1)
                latent_RChw = (1 - anew_R1hw) * kept_RChw + anew_R1hw * latent_RChw
            if is_photograph:
                latent_RChw = _photographed(latent_RChw, schedule.noised(anchor_RChw, noise_RChw, step + 1))
            if plan.maps is not None:
                latent_RChw = plan.maps.blended(latent_RChw)
        self._shared.clear()
        return latent_RChw


def _photographed(latent_RChw: Any, anchor_RChw: Any) -> Any:
    """Latents with the noised anchors as the sources."""
    import torch

    num_pairs = len(latent_RChw) // 2
    return torch.cat([anchor_RChw[:num_pairs], latent_RChw[num_pairs:]])


def is_guided(candidate: PairCandidate) -> bool:
    """True for a guidance scale above 1. Else the network runs without rows without text."""
    return candidate.guidance_scale > 1
