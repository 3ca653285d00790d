"""The settings of a training: one flat, frozen table, the same in TOML, on the command line and in Python.

A recipe's settings are a subclass with the paper's numbers as defaults and its own keys beside these. What only decides
speed or how often something is written is listed in `SPEED_ONLY`; everything else decides the result, and a resumed
training must have it unchanged.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.settings import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

Precision = Literal["no", "bf16", "fp16"]
Schedule = Literal["constant", "cosine"]

SPEED_ONLY = frozenset({
    "out", "data", "batch_size", "accumulate", "num_workers", "device", "compile_unet", "gradient_checkpointing",
    "check_shards", "log_every", "checkpoint_every", "keep_checkpoints", "preview_every", "preview_samples",
    "preview_steps", "preview_strength", "preview_guidance", "save_dtype",
})  # fmt: skip
"""Settings that a resumed training may change. Of `data` the fingerprint is compared instead, of `batch_size` and
`accumulate` their product with the number of processes."""


class TrainConfig(BaseModel):
    """What every recipe can be asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    recipe: ClassVar[str] = ""
    """The recipe's name; set by the subclass."""

    data: str
    """Dataset: a folder or fsspec URL with shards.json."""
    model: str
    """Diffusion checkpoint to start from: `zoo:sd`, `path:…`, `hf:…@<commit>`."""
    out: Path
    """Folder for checkpoints, metrics, previews and the result."""

    seed: int = Field(0, ge=0)
    steps: int = Field(1000, ge=1)
    """Optimiser steps."""
    batch_size: int = Field(1, ge=1)
    """Samples a process and backward pass; a step sees batch_size x accumulate x processes of them."""
    accumulate: int = Field(1, ge=1)
    size_px: int = Field(512, ge=8)
    horizontal_flip: bool = False
    """Mirror half of the samples; off because instructions say left and right."""
    shuffle_block: int = Field(64, ge=1)
    """Samples of one shard that are permuted among themselves, held in memory for each stream."""
    streams: int | None = Field(None, ge=1)
    """Shards read side by side; None: 16, or as many as the dataset and the processes allow. Decides the order."""
    use_latents: bool = True
    """Take latents from the dataset where they are of this model and size, and images are not flipped."""

    learning_rate: float = Field(1e-4, gt=0)
    schedule: Schedule = "constant"
    warmup_steps: int = Field(0, ge=0)
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    adam_epsilon: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    max_grad_norm: float | None = Field(1.0, gt=0)
    """Gradients are scaled down to this norm; None: left as they are."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Decay of the averaged weights, which are then what is previewed and saved; None: no average."""

    precision: Precision = "no"
    device: Literal["auto", "cpu"] = "auto"
    compile_unet: bool = False
    gradient_checkpointing: bool = False
    num_workers: int = Field(0, ge=0)
    """Processes that read and decode, for each training process; 0: the training process does so itself."""

    check_shards: Literal["sha256", "size"] = "sha256"
    """Compare each tar with shards.json before a process reads it for the first time: by its sha256, which reads it
    once more, or by its size alone."""

    log_every: int = Field(1, ge=1)
    checkpoint_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    preview_every: int = Field(500, ge=0)
    """Steps between sample grids; 0: none."""
    preview_samples: int = Field(4, ge=1)
    preview_steps: int = Field(50, ge=1)
    preview_strength: float = Field(0.7, gt=0, le=1)
    preview_guidance: float = Field(7.5, ge=0)
    save_dtype: Literal["float32", "float16", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.warmup_steps >= self.steps and self.warmup_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below steps {self.steps}")
        if self.preview_every and int(self.preview_steps * self.preview_strength) < 1:
            raise ValueError(
                f"preview_steps {self.preview_steps} x preview_strength {self.preview_strength} is less than one step"
            )
        return self

    def deciding(self) -> dict[str, Any]:
        """Settings that decide the result, as JSON values. `steps` is one only where the schedule looks at it."""
        known = self.model_dump(mode="json", exclude=set(SPEED_ONLY))
        return {k: v for k, v in known.items() if k != "steps" or self.schedule != "constant"}

    def rate_frac(self, step: int) -> float:
        """Share of `learning_rate` at optimiser step `step`, from 0: linear warm-up, then constant or half a cosine."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup_steps) / (self.steps - self.warmup_steps)))


Config = TypeVar("Config", bound=TrainConfig)


def make_config(kind: type[Config], values: Mapping[str, Any]) -> Config:
    """The settings, checked. Raises SettingError naming the key, and the nearest valid name for an unknown one."""
    return checked(kind, {**values, **_paths(values)}, f"recipe {kind.recipe}")


def _paths(values: Mapping[str, Any]) -> dict[str, Path]:
    return {"out": Path(values["out"]).expanduser()} if isinstance(values.get("out"), str) else {}
