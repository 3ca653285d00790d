"""The parts of the benchmark: where each is, in which order they run, and the time that each may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """`module:function`, which yields cases, and the seconds after which no further case of it is begun."""

    target: str
    seconds: float


PARTS = {
    "captions": Part("benchmarks.gpu.perception:captions", 40),
    "embeddings": Part("benchmarks.gpu.perception:embeddings", 40),
    "phrase masks": Part("benchmarks.gpu.perception:phrase_masks", 40),
    "regions": Part("benchmarks.gpu.perception:regions", 60),
    "pairs": Part("benchmarks.gpu.pairs:pairs", 75),
    "training SD 1.5": Part("benchmarks.gpu.train:stable_diffusion", 60),
    "training SDXL": Part("benchmarks.gpu.train:stable_diffusion_xl", 100),
    "index": Part("benchmarks.gpu.index:index", 45),
    "compiled training SD 1.5": Part("benchmarks.gpu.train:stable_diffusion_compiled", 150),
    "compiled training SDXL": Part("benchmarks.gpu.train:stable_diffusion_xl_compiled", 200),
}
"""Name -> part. What compiles comes last, as it takes the longest and needs no more than the time that is left."""
