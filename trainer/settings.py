"""Settings shared by all recipes: the same in TOML, on the command line and in Python.

A recipe's settings are a subclass with the paper's numbers as defaults and its own keys added. The section
`run_on` holds what a resumed training may change; everything else decides the result and must stay as it was.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from core.settings import Settings
from trainer.buckets import STEPS

Precision = Literal["no", "bf16", "fp16"]
Schedule = Literal["constant", "cosine"]

PLACES = frozenset({"out", "data", "run_on"})
"""Settings that do not decide the result by their value. Of `data` the fingerprint is compared instead."""


class TrainRunOn(Settings):
    """Settings that decide speed, or how often something is written.

    A resumed training may change `batch_size`, `accumulate` and the number of processes, but not the product of these
    three.
    """

    batch_size: int = Field(1, ge=1)
    """Samples a process and backward pass; a step sees batch_size x accumulate x processes of them."""
    accumulate: int = Field(1, ge=1)
    """Backward passes an optimiser step."""
    device: Literal["auto", "cpu"] = "auto"
    num_workers: int | None = Field(None, ge=0)
    """Processes that read and decode, for each training process; 0: the training process does so itself. None: on a
    GPU one for each of its cores but one, at most 8 and at most its share of the streams; on a CPU 0."""
    check_shards: Literal["sha256", "size"] = "sha256"
    """Compare each tar with shards.json before a process reads it for the first time: by its sha256, which reads it
    once more, or by its size alone."""
    log_every: int = Field(1, ge=1)
    """Steps between rows of metrics."""
    checkpoint_every: int = Field(500, ge=1)
    keep_checkpoints: int = Field(2, ge=1)
    preview_every: int = Field(500, ge=0)
    """Steps between sample grids; 0: none."""
    preview_samples: int = Field(4, ge=1)
    save_dtype: Literal["float32", "float16", "bfloat16"] = "float32"


class TrainSettings(Settings):
    """Settings of every recipe."""

    recipe: ClassVar[str] = ""
    """The recipe's name; set by the subclass."""

    data: str | Annotated[tuple[str, ...], Field(strict=False)]
    """Dataset: a folder or fsspec URL with shards.json; or a list of several."""
    data_weights: Annotated[tuple[float, ...], Field(strict=False)] | None = None
    """How often each of several datasets is drawn from, in proportion: [3, 1]; None: as often as it has samples, so
    that every sample of all datasets is as likely as any other."""
    split: str = "train"
    """The split that is read of a dataset that has splits; a dataset without splits is read whole."""
    out: Path = Field(strict=False)
    """Folder for checkpoints, metrics, previews and the result."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Decides the order of samples, first weights, noise and timesteps."""
    steps: int = Field(1000, ge=1)
    """Optimiser steps."""
    size_px: int = Field(512, ge=8)
    """Side of the centre square that images and masks are cut to."""
    aspect_buckets: bool = False
    """Cut images and masks to a size near their own shape instead: about size_px^2 pixels, sides in multiples of
    size_px / 8, at most twice as wide as high or as high as wide."""
    reduced_jpegs: bool = False
    """Decode a JPEG of twice the size or more at 1/2, 1/4 or 1/8: several times faster, with slightly other pixels than
    those that cached latents and the evaluation see."""
    horizontal_flip: bool = False
    """Mirror half of the samples; off because instructions say left and right."""
    shuffle_block: int = Field(64, ge=1)
    """Samples of one shard that are permuted among themselves, held in memory for each stream."""
    streams: int | None = Field(None, ge=1)
    """Shards read side by side; None: 16, or as many as the dataset and the processes allow. Decides the order."""

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

    run_on: TrainRunOn = TrainRunOn()

    @field_validator("data", mode="before")
    @classmethod
    def _names_datasets(cls, data: Any) -> Any:
        several = isinstance(data, list | tuple) and len(data) > 0 and all(isinstance(one, str) for one in data)
        if not (several or isinstance(data, str)):
            raise ValueError("expected a folder or URL, or a list of them")
        return data

    @field_validator("out")
    @classmethod
    def _expanded(cls, out: Path) -> Path:
        return out.expanduser()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.warmup_steps >= self.steps and self.warmup_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below steps {self.steps}")
        if self.aspect_buckets and self.size_px % STEPS:
            raise ValueError(f"size_px {self.size_px} must be a multiple of {STEPS} with aspect_buckets")
        num_datasets = 1 if isinstance(self.data, str) else len(self.data)
        weights = self.data_weights
        if weights is not None and (len(weights) != num_datasets or min(weights) <= 0):
            raise ValueError(
                f"data_weights is {list(weights)}; expected a number above 0 for each dataset in data ({num_datasets})"
            )
        return self

    def deciding(self) -> dict[str, Any]:
        """Settings that decide the result, as JSON values. `steps` is one only where the schedule depends on it."""
        known = self.model_dump(mode="json", exclude=set(PLACES))
        return {k: v for k, v in known.items() if k != "steps" or self.schedule != "constant"}

    def rate_frac(self, step: int) -> float:
        """Share of the learning rate at step `step`, from 0: linear warm-up, then constant or half a cosine."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup_steps) / (self.steps - self.warmup_steps)))
