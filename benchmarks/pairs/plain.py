"""Pairs by prompt-to-prompt against plain sampling of as many images in one batch: the price of shared attention.

The plain side is the pipeline of diffusers on the same captions, with the same steps, scheduler and guidance. Both
sides encode texts, sample and decode.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from diffusers import DiffusionPipeline

from benchmarks.pairs.records import make_captions
from benchmarks.pairs.rounds import clocked, take_turns
from models.protocols import PairCandidate, PairRequest
from models.registry import load

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.pairs.scale import Scale
    from models.placement import Placement


def against_plain(folder: Path, scale: Scale, guidance_scale: float, num_rounds: int) -> dict[str, Any]:
    """One row of the table, for the pipeline at `folder`."""
    placement = scale.placement()
    captions = make_captions(scale.num_pairs)
    prompts = [text for pair in captions for text in pair]
    plain: Any = DiffusionPipeline.from_pretrained(
        folder, dtype=placement.torch_dtype(), local_files_only=True, use_safetensors=True
    )
    plain.set_progress_bar_config(disable=True)
    plain.to(placement.torch_device())
    ours = synthesiser(folder, placement)

    def sample() -> None:
        plain(
            prompt=prompts, num_inference_steps=scale.num_steps, guidance_scale=guidance_scale,
            generator=[torch.Generator().manual_seed(seed) for seed in range(len(prompts))],
        )  # fmt: skip

    sides = {
        "plain": lambda: clocked(sample),
        "ours": lambda: clocked(lambda: draw_pairs(ours, captions, scale.num_steps, guidance_scale)),
    }
    found = take_turns(sides, num_rounds)
    return {
        "what": "prompt-to-prompt, against plain sampling", "guidance_scale": guidance_scale, **scale.as_json(),
        "sides": found, "ratio": found["ours"]["seconds"] / found["plain"]["seconds"],
        "unet_ratio": found["ours"]["unet_seconds"] / found["plain"]["unet_seconds"],
    }  # fmt: skip


@lru_cache(maxsize=1)
def synthesiser(folder: Path, placement: Placement) -> Any:
    """Our model over the pipeline at `folder`. The last one is kept."""
    return load("PairSynthesizer", f"path:{folder}", placement)


def draw_pairs(ours: Any, captions: list[tuple[str, str]], num_steps: int, guidance_scale: float) -> list[Any]:
    """A pair for each two captions, from noise alone, in one call."""
    prepared = ours.prepare([PairRequest(source_caption=one, target_caption=other) for one, other in captions])
    candidates = [
        PairCandidate(
            seed=seed, num_steps=num_steps, guidance_scale=guidance_scale, cross_attention_frac=1.0,
            self_attention_frac=0.4,
        )
        for seed in range(len(captions))
    ]  # fmt: skip
    drawn: list[Any] = ours.synthesise(prepared, candidates)
    return drawn
