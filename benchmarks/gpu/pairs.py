"""Pairs a second by prompt-to-prompt, at the sizes of Stable Diffusion 1.5 and SDXL-Turbo, beside plain sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.gpu.measure import Case, Measured, fitting, peak_bytes, release
from benchmarks.pairs.checkpoints import write_checkpoint
from benchmarks.pairs.plain import against_plain, synthesiser
from benchmarks.pairs.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.gpu.measure import Work

LATENTS = 64
ROUNDS = 2
GUIDANCE_SCALES = {"SD 1.5": 7.5, "SDXL-Turbo": 0.0}
SCALES = {
    "SD 1.5": Scale(layout="sd15", latents=LATENTS, num_pairs=8, num_steps=20),
    "SDXL-Turbo": Scale(layout="sdxl", latents=LATENTS, num_pairs=8, num_steps=4),
}
SMALL = {"SD 1.5": "sd15-tiny", "SDXL-Turbo": "sdxl-tiny"}
SMALL_LATENTS = 16


def pairs(work: Work) -> Iterator[Case]:
    """Images of 512 px: SD 1.5 in 20 steps with guidance, SDXL in 4 without."""
    for name, full in SCALES.items():
        scale = full.on(work.device, work.dtype)
        if work.small:
            scale = replace(scale, layout=SMALL[name], latents=SMALL_LATENTS, num_pairs=1, num_steps=2)
        guided = "guided" if GUIDANCE_SCALES[name] > 1 else "without guidance"
        yield Case(f"{name}, 512 px, {full.num_steps} steps, {guided}", _measuring(work, name, scale))


def checkpoint(work: Work, layout: str, latents: int = LATENTS) -> Path:
    """A random pipeline, which parts share."""
    folder = work.folder / layout
    side = work.pick(latents, SMALL_LATENTS)
    return write_checkpoint(folder, layout, sample_size=side, device=work.device, dtype=getattr(torch, work.dtype))


def _measuring(work: Work, name: str, scale: Scale) -> Any:
    def run() -> Measured:
        folder = checkpoint(work, scale.layout)
        release()

        def draw(num_pairs: int) -> dict[str, Any]:
            synthesiser.cache_clear()
            return against_plain(folder, replace(scale, num_pairs=num_pairs), GUIDANCE_SCALES[name], ROUNDS)

        num_pairs, row = fitting(scale.num_pairs, draw)
        synthesiser.cache_clear()
        seconds = row["sides"]["ours"]["seconds"]
        return Measured(
            per_second=num_pairs / seconds, unit="pairs", batch=num_pairs, peak_bytes=peak_bytes(),
            notes=f"{row['ratio']:.2f} of the time of plain sampling, {row['unet_ratio']:.2f} inside the UNet",
            more=row,
        )  # fmt: skip

    return run
