"""Everything a training needs before its first step: processes, data, models, and the state of an earlier run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from accelerate.state import AcceleratorState  # type: ignore[import-untyped]
from accelerate.utils import GradientAccumulationPlugin  # type: ignore[import-untyped]

from core.errors import MissingDependencyError, UsageError, one_line
from core.missing import refusal
from models.registry import missing, revision
from trainer.checkpoint import check, checkpoints, damaged, read_state, read_tensors
from trainer.data import Loader
from trainer.datasets import read_datasets
from trainer.decode import Decoder
from trainer.preview import Previewer
from trainer.readers import default_readers, num_local_ranks
from trainer.recipe import TrainContext
from trainer.required import check_columns
from trainer.state import TrainState

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.datasets import Datasets
    from trainer.recipe import Objective, Recipe

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
SAVED = {
    "recipe": str, "config": dict, "dataset": str, "global_batch": int, "models": dict, "streams": int,
    "average_steps": int,
}  # fmt: skip
"""Entries that a checkpoint's state must have in addition to its step, with their types in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A training, ready. `identity` is what a checkpoint must agree with, `step` the number of steps already done."""

    recipe: Recipe
    accelerator: Accelerator
    datasets: Datasets
    objective: Objective
    loader: Loader
    previewer: Previewer | None
    state: TrainState
    identity: dict[str, Any]
    step: int

    @property
    def global_batch(self) -> int:
        """Samples of one optimiser step, over all processes."""
        return int(self.identity["global_batch"])


def set_up(recipe: Recipe, *, resume: bool) -> Setup:
    """Load everything, with `resume` from the last checkpoint under `out`. Raises as `trainer.loop.train`."""
    accelerator = _accelerator(recipe)
    datasets = read_datasets(recipe)
    check_columns(datasets, _required(recipe), f"recipe {recipe.recipe}")
    checkpoint = _checkpoint(recipe, resume=resume)
    saved = _saved(checkpoint) if checkpoint else {}
    run_on = recipe.run_on
    identity = {
        "recipe": recipe.recipe, "config": recipe.deciding(), "dataset": datasets.fingerprint,
        "models": _revisions(recipe),
        "global_batch": run_on.batch_size * run_on.accumulate * accelerator.num_processes,
    }  # fmt: skip
    if checkpoint:
        _check_same(saved, identity, checkpoint)
        recipe = recipe.model_copy(update={"streams": saved["streams"]})
    torch.manual_seed(recipe.seed)  # for the first weights of modules of a recipe's own
    ctx = TrainContext(device=accelerator.device, precision=recipe.precision, autocast=accelerator.autocast)
    objective = recipe.open(ctx)
    loader = Loader(
        datasets, _decoder(recipe, objective), recipe, rank=accelerator.process_index,
        num_ranks=accelerator.num_processes,
        default_workers=default_readers(accelerator.device.type, num_local_ranks(accelerator.num_processes)),
    )  # fmt: skip
    previewer = Previewer(objective.editor, datasets.lists, recipe.size_px) if run_on.preview_every else None
    state = TrainState(objective, recipe, accelerator)
    if checkpoint:
        state.restore(read_tensors(checkpoint), saved)
    recipe.out.mkdir(parents=True, exist_ok=True)
    return Setup(
        recipe=recipe.model_copy(update={"streams": loader.num_streams}), accelerator=accelerator, datasets=datasets,
        objective=objective, loader=loader, previewer=previewer, state=state,
        identity={**identity, "streams": loader.num_streams}, step=saved.get("step", 0),
    )  # fmt: skip


def _required(recipe: Recipe) -> tuple[str, ...]:
    """The columns without which no sample can be used: those that are filled are none of them."""
    return tuple(name for name in (*recipe.reads, *recipe.needs_columns()) if name not in recipe.filled)


def _decoder(recipe: Recipe, objective: Objective) -> Decoder:
    """Make the decoder of the columns that the recipe declares."""
    return Decoder(
        size_px=recipe.size_px, required=(*recipe.reads, *recipe.needs_columns()), optional=recipe.reads_if_present,
        arrays=tuple(objective.arrays), filled=recipe.filled, sided_texts=recipe.sided_texts,
        aspect_buckets=recipe.aspect_buckets, reduced_jpegs=recipe.reduced_jpegs, one_of=recipe.one_of,
        seed=recipe.seed,
    )  # fmt: skip


def _revisions(recipe: Recipe) -> dict[str, str]:
    """The revision of each model. Raises MissingDependencyError, which lists all that cannot be loaded."""
    lacking = [("", one) for model in recipe.needs_models() for one in missing(model)]
    if lacking:
        raise MissingDependencyError(refusal(lacking))
    return {one: revision(one) for one in recipe.needs_models()}


def _accelerator(recipe: Recipe) -> Accelerator:
    """The processes and the device, whatever an earlier training in this process used."""
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=alone)  # noqa: SLF001  accelerate has no public way
    try:
        accelerator = Accelerator(
            mixed_precision=recipe.precision, cpu=recipe.run_on.device == "cpu",
            # the loop divides by `accumulate` itself; a launcher's variable must not divide once more
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(f"precision {recipe.precision} cannot be used here: {one_line(error)}") from error
    if recipe.precision == "fp16" and accelerator.device.type == "cpu":
        raise UsageError("precision fp16 needs a GPU; use bf16 or no")
    return accelerator


def _checkpoint(recipe: Recipe, *, resume: bool) -> Path | None:
    found = checkpoints(recipe.out / CHECKPOINTS)
    if not found:
        if resume:
            log.info("nothing to resume under %s; starting at step 0", recipe.out)
        return None
    step = int(found[-1].name.removeprefix("step-"))
    if not resume:
        raise UsageError(f"{recipe.out} holds a training at step {step}; resume it, or name another folder")
    if step > recipe.steps:
        raise UsageError(f"{recipe.out} holds a training at step {step}, steps is {recipe.steps}; ask for more")
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
    """Raise UsageError for a checkpoint of another recipe, or of other settings, data or models."""
    before, now = dict(saved), dict(identity)
    settings_before, settings_now = before.pop("config"), now.pop("config")
    changed = [
        f"{key} was {old.get(key)!r} and is {new.get(key)!r}"
        for old, new, keys in ((before, now, now), (settings_before, settings_now, settings_before | settings_now))
        for key in keys
        if old.get(key) != new.get(key)
    ]
    if changed:
        raise UsageError(
            f"{checkpoint} cannot be resumed: {'; '.join(changed)}; name another folder for a new training"
        )
