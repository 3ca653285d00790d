"""All numbers of the benchmark in one place. To change one is another benchmark: give it another run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.world import EditKind

KINDS: tuple[EditKind, ...] = ("replace_noun", "change_colour", "remove", "change_background", "change_style")
"""Kinds of edits in the data and in the held-out edits."""
WHOLE_KINDS = ("change_background", "change_style")
"""Those that change most of the image."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Sizes of data, effort of a training, and how images are repainted."""

    start: str = "zoo:clip"
    """The CLIP whose tokens every head reads."""
    generator: str = "zoo:sd-inpaint"
    other_generator: str = "zoo:sd"
    """Repaints with a trained head that has never seen it."""
    edits_per_seed: int = 1600
    """Edits that a training sees, other ones for each seed."""
    fewer_edits: int = 400
    world_seed: int = 43
    steps: int = 1500
    batch_size: int = 16
    training: dict[str, Any] = field(default_factory=lambda: {
        "size_px": 64, "learning_rate": 1e-3, "warmup_steps": 30, "num_heads": 4, "hidden": 128, "patch_layer": -2,
        "generated": "whole", "generator_steps": 4, "generator_guidance_scale": 3.0,
    })  # fmt: skip
    """Further settings of all trainings."""
    num_cases: int = 250
    editing: dict[str, Any] = field(default_factory=lambda: {
        "num_steps": 8, "guidance_scale": 3.0, "margin_frac": 0.03,
    })  # fmt: skip
    """Settings of every editor that repaints a mask."""
    pix2pix: dict[str, Any] = field(default_factory=lambda: {
        "num_steps": 10, "guidance_scale": 1.5, "image_guidance_scale": 1.2, "scheduler": "checkpoint",
    })  # fmt: skip
    """Settings of the editor that was trained on pairs."""
    phrase_threshold: float = 0.4
    """Of CLIPSeg, as UltraEdit and iEdit's recipe have it here."""
    box_threshold: float = 0.5
    """Of Grounding DINO, as the tiny manifests have it."""
    small_below: float = 0.065
    """Share of the image below which an edit is small."""
    large_from: float = 0.1
    """Share of the image from which it is large."""

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)
