"""All numbers of the benchmark in one place. To change one is another benchmark: give it another run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.world import EditKind

START = "zoo:ip2p-early"
"""The model that every training starts from."""
EDITORS: dict[str, str] = {"zoo:ip2p": "zoo:ip2p"}
"""Rows of editors that no cell trains: name -> model id."""
TAUGHT: tuple[EditKind, ...] = ("replace_noun", "change_colour", "change_background")
"""Kinds of edits in the data and in the held-out edits: those that zoo:sd can draw by prompt-to-prompt."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Sizes of data, effort of a training, and how its editor samples."""

    start: str = START
    edits_per_seed: int = 500
    """Edits that a training sees, other ones for each seed."""
    num_seeds: int = 3
    """Seeds for which edits are drawn."""
    world_seed: int = 41
    steps: int = 300
    batch_size: int = 8
    training: dict[str, Any] = field(default_factory=lambda: {
        "size_px": 64, "learning_rate": 2e-4, "conv_in_learning_rate": 4e-4, "schedule": "cosine", "warmup_steps": 20,
        "ema_decay": 0.99, "horizontal_flip": True,
    })  # fmt: skip
    """Further settings of all trainings."""
    uip2p: dict[str, Any] = field(default_factory=lambda: {"clip_model": "zoo:clip"})
    """Further settings of the recipe uip2p."""
    num_cases: int = 300
    num_sessions: int = 100
    num_turns: int = 3
    num_cases_of_steps: int = 150
    """Edits on which numbers of steps are compared."""
    editing: dict[str, Any] = field(default_factory=lambda: {
        "num_steps": 10, "guidance_scale": 1.5, "image_guidance_scale": 1.2, "scheduler": "checkpoint",
    })  # fmt: skip
    """Settings of every editor."""

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)
