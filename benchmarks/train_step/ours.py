"""The side of this project: the recipe's own training, loop and loader included, one optimiser step at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from trainer.loop import _Training  # what is measured
from trainer.recipe import make_recipe
from trainer.recipes.ip2p.recipe import InstructPix2Pix
from trainer.setup import set_up
from trainer.signals import Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.train_step.side import Task


def open_ours(task: Task) -> Callable[[], Any]:
    """A call that does one step, with everything loaded. The dataset's arrays are used where it has them."""
    recipe = make_recipe(
        InstructPix2Pix,
        {
            "data": task.data, "out": task.out, "model": task.model, "size_px": task.size_px, "precision":
            task.precision, "learning_rate": task.learning_rate, "horizontal_flip": False, "steps": 1_000_000,
            "streams": 1,
            "run_on": {
                "batch_size": task.batch_size, "checkpoint_every": 1_000_000, "preview_every": 0,
                "device": "auto" if torch.cuda.is_available() else "cpu",
            },
        },
    )  # fmt: skip
    setup = set_up(recipe, resume=False)
    training, batches = _Training(setup), setup.loader.batches(0)
    return lambda: training._advance(batches, Stop())  # noqa: SLF001  the loop's own step
