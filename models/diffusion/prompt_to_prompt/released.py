"""UltraEdit's controller and loop as they were released, their faults included, for comparison only.

The controller edits the second half of the batch as if the first half were rows without text, and the script runs
without guidance. So one pair has half of its heads' maps overwritten by its own other half, and of several pairs the
latter half takes over half of the heads of one prompt. Words are aligned with those of the first prompt of the batch,
and the first candidate's shares hold for all. Further: the anchor's latent is drawn from the posterior, for each row
its own; the pair shares the first latent and no noise after it; the anchor is put back after steps of odd number only;
SDXL gets no pooled text and no sizes; a ring without a value is left as it is.

Source  Zhao et al. 2024, UltraEdit: data_generation/ of its repository at 1af5f04.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from models.diffusion.noise import first_noise
from models.diffusion.prompt_to_prompt.alignment import refined
from models.diffusion.prompt_to_prompt.attention import heads, projected, set_processor
from models.diffusion.prompt_to_prompt.blend import made_anew
from models.diffusion.prompt_to_prompt.plan import cross_steps, self_limit, self_steps
from models.diffusion.prompt_to_prompt.sampler import Network
from models.diffusion.prompt_to_prompt.steps import pair_generators, steps_run
from models.diffusion.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.diffusion.prompt_to_prompt.prepare import PreparedPair
    from models.diffusion.prompt_to_prompt.settings import PairSettings
    from models.diffusion.text_conditions import TextCondition
    from models.protocols import PairCandidate

# R rows: N sources, then their N targets; P prompts: the same in the order of the release, each target after its source
# H heads, Q queries, L tokens


@dataclass(slots=True, eq=False)
class ReleasedControl:
    """What all processors of a network do in the next call of it."""

    max_self_tokens: int = 0
    shares_self: bool = False
    shares_cross: bool = False
    carried_PLL: Any = None
    """Edits of all prompts but the first, with the first as their source."""
    kept_PL: Any = None


class ReleasedProcessor:
    """Attention processor of diffusers that holds every map and edits those of the batch's second half."""

    def __init__(self, control: ReleasedControl) -> None:
        self._control = control

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **_more: Any) -> Any:
        """Hidden states (B, Q, C) after attention."""
        is_cross = encoder_hidden_states is not None
        query, key, value = heads(attn, hidden_states, encoder_hidden_states if is_cross else hidden_states)
        map_BHQL = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
        order = self._order(len(map_BHQL))
        flat_BQL = map_BHQL[order].flatten(0, 1)
        half = len(flat_BQL) // 2
        flat_BQL[half:] = self._edited(flat_BQL[half:], is_cross)
        map_BHQL[order] = flat_BQL.unflatten(0, map_BHQL.shape[:2])
        return projected(attn, map_BHQL @ value, hidden_states)

    def _order(self, num_rows: int) -> list[int]:
        """Rows in the order of the release: each target after its source, rows without text first."""
        num_prompts = len(self._control.kept_PL) + 1
        return [
            start + side * (num_prompts // 2) + pair
            for start in range(0, num_rows, num_prompts)
            for pair in range(num_prompts // 2)
            for side in (0, 1)
        ]

    def _edited(self, flat_BQL: Any, is_cross: bool) -> Any:
        """The maps, taken for those of all prompts, whether or not they are."""
        control = self._control
        num_prompts = len(control.kept_PL) + 1
        if len(flat_BQL) % num_prompts:
            raise ValueError(f"the released controller needs an even number of heads, got {len(flat_BQL)} maps")
        map_PHQL = flat_BQL.unflatten(0, (num_prompts, -1))
        base_HQL, others_PHQL = map_PHQL[0], map_PHQL[1:]
        if is_cross and control.shares_cross:
            others_PHQL = base_HQL @ control.carried_PLL[:, None] + others_PHQL * control.kept_PL[:, None, None]
        elif not is_cross and control.shares_self and flat_BQL.shape[1] <= control.max_self_tokens:
            others_PHQL = base_HQL.expand_as(others_PHQL)
        map_PHQL = map_PHQL.clone()
        map_PHQL[1:] = others_PHQL
        return map_PHQL.flatten(0, 1)


class ReleasedSampler:
    """Samples the latents of batches of pairs as the released scripts do."""

    def __init__(self, pipeline: Any, settings: PairSettings, nothing: TextCondition) -> None:
        self._unet, self._scheduler, self._settings = pipeline.unet, pipeline.scheduler, settings
        self._nothing = replace(nothing, pooled_BD=None)
        self._latent_channels = pipeline.vae.config.latent_channels
        self._control = ReleasedControl()
        pipeline.unet.register_to_config(addition_embed_type=None)
        set_processor(pipeline.unet, ReleasedProcessor(self._control))

    def sample(self, prepared: Sequence[PreparedPair], candidates: Sequence[PairCandidate]) -> Any:
        """Latents (R, C, h, w), float32. The pairs are alike as for PairSampler."""
        import torch

        first = candidates[0]
        run = steps_run(prepared[0], first)
        schedule = Schedule(self._scheduler, num_steps=first.num_steps, num_run=run, device=self._unet.device)
        network = Network(self._unet, prepared, candidates, self._nothing)
        self._align(prepared)
        drawn = pair_generators([one.seed for one in candidates], shares_noise=False)
        size = (self._latent_channels, *prepared[0].latent_size)
        anchor_RChw = self._anchors(prepared, first_noise(drawn, size, self._unet.device))
        noise_RChw = first_noise(drawn, size, self._unet.device)
        latent_RChw = schedule.pure(noise_RChw) if anchor_RChw is None else schedule.noised(anchor_RChw, noise_RChw, 0)
        latent_RChw = torch.cat([latent_RChw[: len(prepared)]] * 2)
        anew_R1hw = made_anew(prepared, [replace(one, ring_frac=one.ring_frac or 0.0) for one in candidates])
        for step in range(len(schedule)):
            self._control.shares_self = step < self_steps(first.self_attention_frac, len(schedule))
            self._control.shares_cross = step < cross_steps(first.cross_attention_frac, len(schedule))
            output_RChw = network(schedule.scaled(latent_RChw, step), schedule.timesteps[step])
            latent_RChw = schedule.stepped(output_RChw, latent_RChw, step, drawn)
            if anew_R1hw is not None and step % 2 == 1:
                kept_RChw = schedule.noised(anchor_RChw, noise_RChw, step + 1)
                latent_RChw = (1 - anew_R1hw) * kept_RChw + anew_R1hw * latent_RChw
        return latent_RChw

    def _align(self, prepared: Sequence[PreparedPair]) -> None:
        """Align all prompts of the batch with the first."""
        import torch

        length, device = len(prepared[0].edit.kept_L), self._unet.device
        base, *others = [ids for one in prepared for ids in one.token_ids]
        edits = [refined(base, ids, length) for ids in others]
        self._control.carried_PLL = torch.stack([torch.from_numpy(one.carried_LL) for one in edits]).to(device)
        self._control.kept_PL = torch.stack([torch.from_numpy(one.kept_L) for one in edits]).to(device)
        self._control.max_self_tokens = self_limit(prepared[0].latent_size, self._settings.max_self_tokens)

    def _anchors(self, prepared: Sequence[PreparedPair], noise_RChw: Any) -> Any:
        """The anchors' latents, drawn from the posterior for each row, or None without anchors."""
        import torch

        if prepared[0].latent_Chw is None:
            return None
        modes, spreads = (
            torch.stack([getattr(one, name) for one in prepared] * 2) for name in ("latent_Chw", "latent_std_Chw")
        )
        return modes + spreads * noise_RChw
