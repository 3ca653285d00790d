"""All numbers of the benchmark in one place. To change one is another benchmark: give it another run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

START = "zoo:ip2p"
"""The model whose autoencoder all trainings use (`start`)."""


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Sizes of data, effort of a training, and how its editor samples."""

    start: str = START
    cell_px: int = 32
    """Side of an image: a grid then has the size that the miniature models were made for."""
    nouns: tuple[str, ...] = ("car", "bus", "cat", "fish", "apple", "banana", "cup", "vase")
    """The things of all scenes: two of each of four families, so that a short training can learn them."""
    num_seeds: int = 3
    """Seeds for which held-out edits are written."""
    num_requests: int = 60
    """Instructions that a training sees, of 72 that are not held out; each seed draws its own, and its own scenes."""
    pairs_per_request: int = 24
    start_images: int = 4000
    start_steps: int = 3000
    start_training: dict[str, Any] = field(default_factory=lambda: {
        "learning_rate": 8e-4, "schedule": "cosine", "warmup_steps": 50, "ema_decay": 0.995, "loss_weights": "plain",
    })  # fmt: skip
    steps: int = 1500
    batch_size: int = 8
    training: dict[str, Any] = field(default_factory=lambda: {
        "learning_rate": 6e-4, "schedule": "cosine", "warmup_steps": 30, "ema_decay": 0.99, "loss_weights": "clean",
        "horizontal_flip": True,
    })  # fmt: skip
    """Further settings of the trainings of all cells."""
    instructgie: dict[str, Any] = field(default_factory=lambda: {
        "clip_model": "zoo:clip", "hint_width": 48, "hint_depth": 1, "trained": "unet", "learning_rate": 2e-3,
        "unet_learning_rate": 6e-4,
    })  # fmt: skip
    """Further settings of the recipe instructgie. The UNet is trained too, since its start is no Stable Diffusion; the
    control network, whose new parts begin at zero, learns faster."""
    ip2p: dict[str, Any] = field(default_factory=lambda: {
        "learning_rate": 1.2e-3, "conv_in_learning_rate": 2.4e-3,
    })  # fmt: skip
    """Further settings of the recipe ip2p."""
    num_cases: int = 90
    num_paraphrased: int = 20
    """Edits that are asked for in all wordings."""
    editing: dict[str, Any] = field(default_factory=lambda: {"num_steps": 10, "guidance_scale": 2.0})
    """Settings of every trained editor."""
    sdedit: dict[str, Any] = field(default_factory=lambda: {
        "num_steps": 20, "guidance_scale": 3.0, "sampling_ratio": 0.7, "size_px": 64,
    })  # fmt: skip
    """Settings of SDEdit over zoo:sd, which draws 64 px."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nouns", tuple(self.nouns))  # from JSON it is a list

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {**asdict(self), "nouns": list(self.nouns)}
