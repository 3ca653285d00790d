"""The training loop: one recipe on one or more datasets, on a CPU, a GPU, or several processes.

All randomness in step s is a function of the seed and of the samples' numbers. So a training that was killed and
resumed on the same kind of machine gives the losses of one that was not, and R processes with batch size B those of one
with R x B, up to the rounding of sums. Owns what follows what in a step; state, order, metrics and results have modules
of their own.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import torch

from core.errors import InterruptedTraining, NotFiniteError
from trainer.checkpoint import save_checkpoint
from trainer.draws import Draws
from trainer.metrics import Metrics, read_metrics
from trainer.result import Result, provenance, save_result
from trainer.setup import CHECKPOINTS, set_up
from trainer.signals import noted

if TYPE_CHECKING:
    from collections.abc import Generator

    from trainer.batch import Batch
    from trainer.recipe import Recipe
    from trainer.setup import Setup
    from trainer.signals import Stop

log = logging.getLogger(__name__)

MODEL = "model"
LOG_EVERY_S = 10.0


def train(recipe: Recipe, *, resume: bool = False) -> Result:
    """Train to `recipe.steps` and save `<out>/model`. With `resume`, start at the last checkpoint if there is one.

    Raises UsageError for settings or data that cannot be used, and for an `out` with a training in it where `resume` is
    not asked for; ModelError for models that cannot be loaded; TrainingError when the training cannot finish;
    InterruptedTraining after a signal, once the state is saved.
    """
    with noted() as stop:
        return _Training(set_up(recipe, resume=resume)).run(stop)


class _Training:
    """One training. `step` counts the optimiser steps done."""

    def __init__(self, setup: Setup) -> None:
        self._setup, self._recipe, self._accelerator = setup, setup.recipe, setup.accelerator
        self._state, self._objective = setup.state, setup.objective
        self.step = setup.step
        self._metrics = Metrics(self._recipe.out, self.step) if self._accelerator.is_main_process else None
        self._saved_step, self._logged_s = self.step, time.monotonic()

    def run(self, stop: Stop) -> Result:
        """Run all steps, and save the result."""
        start = self.step * self._recipe.run_on.accumulate
        try:
            with closing(self._setup.loader.batches(start)) as batches:
                while self.step < self._recipe.steps:
                    self._advance(batches, stop)
            self._save()
            return self._finish()
        finally:
            if self._metrics:
                self._metrics.close()

    def _advance(self, batches: Generator[Batch], stop: Stop) -> None:
        run_on = self._recipe.run_on
        values, is_stopped = self._train_step(batches, is_stopped=bool(stop.name))
        self.step += 1
        if self.step % run_on.log_every == 0 or self.step == self._recipe.steps:
            self._log(values)
        if is_stopped or self.step % run_on.checkpoint_every == 0:
            self._save()
        if is_stopped:
            name = stop.name or "a signal to another process"
            raise InterruptedTraining(
                f"stopped by {name} after step {self.step}; the state is saved; resume it with --resume"
            )
        if run_on.preview_every and self.step % run_on.preview_every == 0:
            self._preview()

    def _train_step(self, batches: Generator[Batch], *, is_stopped: bool) -> tuple[dict[str, float], bool]:
        """Do one optimiser step. Return its losses over all processes, and whether any is to stop."""
        recipe, step = self._recipe, self.step
        num_samples, seen = recipe.run_on.batch_size * recipe.run_on.accumulate, 0
        self._state.begin(self._objective.trained_at(step))
        place = (recipe.seed * 1_000_003 + step) * 4096 + self._accelerator.process_index
        torch.manual_seed(place % 2**63)  # for dropout, if any
        sums: dict[str, torch.Tensor] = {}
        while seen < num_samples:
            batch = next(batches)
            seen += len(batch)
            batches_per_step = num_samples / len(batch)  # batches of unequal sizes count by their samples
            loss, parts = self._loss(batch)
            self._accelerator.backward(loss / batches_per_step)
            for name, value in {"loss": loss.detach(), **{f"loss/{n}": part for n, part in parts.items()}}.items():
                sums[name] = sums.get(name, 0) + value.float() / batches_per_step
        sums["is_stopped"] = torch.tensor(float(is_stopped), device=self._accelerator.device)
        values = self._means(sums)
        is_any_stopped = values.pop("is_stopped") > 0
        self._check_finite(values)
        values["grad_norm"] = self._state.update(step)
        values["learning_rate"] = recipe.learning_rate * recipe.rate_frac(step)
        return values, is_any_stopped

    def _loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        device = self._accelerator.device
        return self._objective.loss(batch.to(device), Draws(self._recipe.seed, batch.number_B, device))

    def _means(self, values: dict[str, torch.Tensor]) -> dict[str, float]:
        """Each value's mean over all processes, which agree on the order by the names."""
        names = sorted(values)
        reduced: Any = self._accelerator.reduce(torch.stack([values[name] for name in names]), "mean")
        means = dict(zip(names, reduced.tolist(), strict=True))
        return {name: means[name] for name in values}

    def _check_finite(self, values: dict[str, float]) -> None:
        if math.isfinite(values["loss"]):
            return
        losses = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        or_else = "; try precision bf16" if self._recipe.precision == "fp16" else ""
        raise NotFiniteError(
            f"step {self.step}: the loss is not finite ({losses}); lower learning_rate or switch off the "
            f"loss that is not{or_else}; the last checkpoint is of step {self._saved_step}"
        )

    def _log(self, values: dict[str, float]) -> None:
        if self._metrics is None:
            return
        epochs = self._setup.datasets.epochs(self.step * self._setup.global_batch)
        row = {**epochs, **values}
        row = self._metrics.log(self.step, row, samples_per_step=self._setup.global_batch)
        if time.monotonic() - self._logged_s > LOG_EVERY_S:
            self._logged_s = time.monotonic()
            log.info(
                "step %d of %d, epoch %.2f, loss %.4f, %.1f samples/s",
                self.step, self._recipe.steps, epochs["epoch"], values["loss"], row["samples_per_s"],
            )  # fmt: skip

    def _save(self) -> None:
        """Write a checkpoint of the step, once."""
        if self.step == self._saved_step:
            return
        if self._metrics:
            folder = self._recipe.out / CHECKPOINTS
            scalars = {**self._setup.identity, **self._state.scalars()}
            keep = self._recipe.run_on.keep_checkpoints
            with self._metrics.paused():
                save_checkpoint(folder, self.step, self._state.tensors(), scalars, keep)
        self._saved_step = self.step
        self._accelerator.wait_for_everyone()

    def _preview(self) -> None:
        previewer = self._setup.previewer
        if self._metrics and previewer:
            samples = self._recipe.run_on.preview_samples
            with self._metrics.paused(), self._state.as_result(), self._accelerator.autocast():
                self._metrics.show(self.step, previewer.grid(samples, self._recipe.seed))
        self._accelerator.wait_for_everyone()

    def _finish(self) -> Result:
        """Save the model with the averaged weights, where there are any."""
        folder, last = self._recipe.out / MODEL, {}
        if self._metrics:
            last = (read_metrics(self._recipe.out) or [{}])[-1]
            models = self._setup.identity["models"]
            origin = provenance(self._recipe, self._setup.datasets, models, self.step, last)
            with self._state.as_result():
                save_result(folder, self._objective, origin)
        self._accelerator.wait_for_everyone()
        return Result(folder, self.step, last)
