"""`editloom train`: train an editing model on a dataset.

Several processes: `accelerate launch -m cli.train --recipe …` or `torchrun -m cli.train --recipe …`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.exits import run
from trainer.recipes import RECIPES, find_recipe


def train_command(
    recipe: Annotated[str, typer.Option(help=f"{', '.join(RECIPES)}, or module:Class")],
    data: Annotated[
        list[str] | None, typer.Option(help="Dataset: a folder or fsspec URL with shards.json; may be repeated")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint to start from: zoo:sd, path:…, hf:…@<commit>")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for checkpoints, metrics, previews and the model")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint, if any")] = False,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a process and backward pass")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides order, noise and timesteps")] = None,
) -> None:  # fmt: skip
    """Train an editing model on a dataset. Options win over --set, which wins over the file and the recipe."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from core.settings import overlaid, parse_pairs, read_toml

    kind = find_recipe(recipe)
    options: dict[str, Any] = {"model": model, "out": out, "steps": steps, "seed": seed}
    given = {key: value for key, value in options.items() if value is not None}
    if data:
        given["data"] = data[0] if len(data) == 1 else data
    if batch_size is not None:
        given["run_on"] = {"batch_size": batch_size}
    values = overlaid(overlaid(read_toml(config) if config else {}, parse_pairs(settings or [])), given)
    from trainer.loop import train
    from trainer.recipe import make_recipe

    made = make_recipe(kind, values)
    _quiet_libraries()
    result = train(made, resume=resume)
    if "loss" in result.metrics:  # the main process has them
        print(f"{result.model}: {result.steps} steps, last loss {result.metrics['loss']:.4f}")  # noqa: T201  a command's result


def _quiet_libraries() -> None:
    """No progress bars of the loading of weights."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name="train")(train_command)
    sys.exit(run(app, name="editloom train"))
