"""Everything a training needs before its first step: processes, data, models, and the state of an earlier run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from accelerate.utils import GradientAccumulationPlugin  # type: ignore[import-untyped]

from core.errors import DatasetError, UsageError, one_line
from samples.shards import read_shards
from trainer.batch import collate
from trainer.checkpoint import check, checkpoints, damaged, read_state, read_tensors
from trainer.data import Loader, first_samples
from trainer.decode import Decoder
from trainer.diffusion import Diffusion
from trainer.state import TrainState

if TYPE_CHECKING:
    from pathlib import Path

    from samples.shards import ShardList
    from trainer.batch import Batch
    from trainer.recipe import Objective, Recipe

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
SAVED = {"config": dict, "dataset": str, "global_batch": int, "revision": str, "streams": int, "average_steps": int}
"""Entries that a checkpoint's state must have beside its step, with their types in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A training, ready. `identity` is what a checkpoint must agree with, `step` the number of steps already done."""

    config: Recipe
    accelerator: Accelerator
    dataset: ShardList
    decoder: Decoder
    diffusion: Diffusion
    objective: Objective
    loader: Loader
    state: TrainState
    identity: dict[str, Any]
    latent_side: int
    step: int

    @property
    def global_batch(self) -> int:
        """Samples of one optimiser step, over all processes."""
        return int(self.identity["global_batch"])

    def preview_batch(self) -> Batch:
        """The first samples of the dataset."""
        return collate(first_samples(self.dataset, self.decoder, self.config.preview_samples), self.latent_side)


def set_up(config: Recipe, *, resume: bool) -> Setup:
    """Load everything; go on from the last checkpoint under `out` with `resume`. Raises as `trainer.loop.train`."""
    accelerator = _accelerator(config)
    try:
        dataset = read_shards(config.data, is_hashed=config.check_shards == "sha256")
        dataset.check_sizes()
    except DatasetError as error:
        raise UsageError(str(error)) from error
    checkpoint = _checkpoint(config, resume=resume)
    saved = _saved(checkpoint) if checkpoint else {}
    identity = {
        "config": config.deciding(), "dataset": dataset.fingerprint,
        "global_batch": config.batch_size * config.accumulate * accelerator.num_processes,
    }  # fmt: skip
    if checkpoint:
        _check_same(saved, identity, checkpoint)
        config = config.model_copy(update={"streams": saved["streams"]})
    diffusion = Diffusion(config.model, accelerator.device, config.precision, accelerator.autocast)
    identity["revision"] = diffusion.revision
    if checkpoint:
        _check_same(saved, identity, checkpoint)
    spec = diffusion.latent_spec(config.size_px)
    use_latents = config.use_latents and not config.horizontal_flip  # a mirrored image has another latent
    decoder = Decoder(size_px=config.size_px, needs_masks=config.needs_masks, latents=spec if use_latents else None)
    loader = Loader(
        dataset, decoder, config, latent_side=spec.shape[-1], rank=accelerator.process_index,
        num_ranks=accelerator.num_processes,
    )  # fmt: skip
    objective = config.open(diffusion)
    diffusion.speed_up(compile_unet=config.compile_unet, gradient_checkpointing=config.gradient_checkpointing)
    state = TrainState(objective.parameters, config, accelerator)
    if checkpoint:
        state.restore(read_tensors(checkpoint), saved)
    config.out.mkdir(parents=True, exist_ok=True)
    return Setup(
        config=config.model_copy(update={"streams": loader.num_streams}), accelerator=accelerator, dataset=dataset,
        decoder=decoder, diffusion=diffusion, objective=objective, loader=loader, state=state,
        identity={**identity, "streams": loader.num_streams}, latent_side=spec.shape[-1], step=saved.get("step", 0),
    )  # fmt: skip


def _accelerator(config: Recipe) -> Accelerator:
    """The processes and the device. What an earlier training in this process settled is forgotten."""
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=alone)  # noqa: SLF001  accelerate has no public way
    try:
        accelerator = Accelerator(
            mixed_precision=config.precision, cpu=config.device == "cpu",
            # the loop divides by `accumulate` itself; a launcher's variable must not divide once more
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(f"precision {config.precision} cannot be used here: {one_line(error)}") from error
    if config.precision == "fp16" and accelerator.device.type == "cpu":
        raise UsageError("precision fp16 needs a GPU; use bf16 or no")
    return accelerator


def _checkpoint(config: Recipe, *, resume: bool) -> Path | None:
    found = checkpoints(config.out / CHECKPOINTS)
    if not found:
        if resume:
            log.info("nothing to resume under %s; starting at step 0", config.out)
        return None
    step = int(found[-1].name.removeprefix("step-"))
    if not resume:
        raise UsageError(f"{config.out} holds a training at step {step}; resume it, or name another folder")
    if step > config.steps:
        raise UsageError(f"{config.out} holds a training at step {step}, steps is {config.steps}; ask for more")
    check(found[-1])
    return found[-1]


def _saved(checkpoint: Path) -> dict[str, Any]:
    """The state of a checkpoint, with everything that a training saves. Raises TrainingError for another."""
    saved = read_state(checkpoint)
    for name, kind in SAVED.items():
        if type(saved.get(name)) is not kind:
            raise damaged(checkpoint, f"state.json has no {name}, or another than a training writes")
    return saved


def _check_same(saved: dict[str, Any], identity: dict[str, Any], checkpoint: Path) -> None:
    """Refuse to resume what was begun with other settings, data or model."""
    before, now = dict(saved), dict(identity)
    settings_before, settings_now = before.pop("config"), now.pop("config")
    changed = [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for old, new in ((settings_before, settings_now), (before, now))
        for key in new
        if old.get(key) != new.get(key)
    ]
    if changed:
        raise UsageError(f"{checkpoint} cannot be resumed: {'; '.join(changed)}; name another folder for a new one")
