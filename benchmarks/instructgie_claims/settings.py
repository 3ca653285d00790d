"""All numbers of the benchmark in one place. To change one is another benchmark: give it another run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

START = "zoo:ip2p-early"
"""The editor whose autoencoder, text encoder and UNet the common start is made of (`start`)."""
START_SEED = 1000
"""Seed of the data that the common start is trained on: other scenes than those of the cells."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Sizes of data, effort of a training, and how its editor samples."""

    start: str = START
    cell_px: int = 32
    """Side of an image: a grid then has the size that the miniature models were made for."""
    num_requests: int = 300
    """Instructions that a training sees, other ones and other scenes for each seed."""
    pairs_per_request: int = 3
    start_requests: int = 600
    start_steps: int = 5000
    start_training: dict[str, Any] = field(default_factory=lambda: {
        "learning_rate": 8e-4, "schedule": "cosine", "warmup_steps": 50, "ema_decay": 0.999,
    })  # fmt: skip
    steps: int = 1500
    batch_size: int = 8
    training: dict[str, Any] = field(default_factory=lambda: {
        "learning_rate": 6e-4, "schedule": "cosine", "warmup_steps": 30, "ema_decay": 0.99,
    })  # fmt: skip
    """Further settings of the trainings of all cells."""
    shared: dict[str, Any] = field(default_factory=lambda: {"loss_weights": "clean", "horizontal_flip": True})
    """Settings of all trainings, the start's as well."""
    instructgie: dict[str, Any] = field(default_factory=lambda: {
        "clip_model": "zoo:clip", "hint_width": 48, "hint_depth": 1,
    })  # fmt: skip
    """Further settings of the recipe instructgie."""
    num_cases: int = 90
    num_paraphrased: int = 20
    """Edits that are asked for in all wordings."""
    editing: dict[str, Any] = field(default_factory=lambda: {"num_steps": 10, "guidance_scale": 2.0})
    """Settings of every trained editor."""
    sdedit: dict[str, Any] = field(default_factory=lambda: {
        "num_steps": 20, "guidance_scale": 3.0, "sampling_ratio": 0.7, "size_px": 64,
    })  # fmt: skip
    """Settings of SDEdit over zoo:sd, which draws 64 px."""

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return asdict(self)
