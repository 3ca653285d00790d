"""All numbers of the benchmark in one place. To change one is another benchmark: give it another run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

START = "zoo:ip2p-early"
"""The model that every training starts from."""
EDITORS: dict[str, str] = {"zoo:ip2p": "zoo:ip2p"}
"""Rows of editors that no cell trains: name -> model id."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Sizes of data, effort of a training, and how its editor samples."""

    start: str = START
    base_pairs: int = 300
    """Pairs of the smallest training; the others have twice and four times as many."""
    region_pairs: int = 600
    """Pairs with a region, and of each training that is compared with these."""
    anchor_shards: int = 18
    """Shards of 100 scenes from which free-form pairs are drawn: about 71 pairs each."""
    region_shards: int = 7
    """The same for pairs with a region: about 99 pairs each."""
    steps: int = 600
    batch_size: int = 8
    training: dict[str, Any] = field(default_factory=lambda: {
        "size_px": 64, "learning_rate": 5e-4, "conv_in_learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 20,
        "loss_weights": "plain", "ema_decay": 0.99, "horizontal_flip": True,
    })  # fmt: skip
    """Further settings of the recipe ip2p."""
    num_cases: int = 500
    editing: dict[str, Any] = field(default_factory=lambda: {
        "num_steps": 10, "guidance_scale": 1.5, "image_guidance_scale": 1.2, "scheduler": "checkpoint",
    })  # fmt: skip
    """Settings of every editor."""

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)


TAUGHT = ("replace_noun", "change_colour", "change_background")
"""Kinds of edits that the tiny UltraEdit datasets have. The claims are judged on these; the tables show all too."""
