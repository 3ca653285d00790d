"""The `editloom train` command. Exit codes: 0 trained, 1 it could not finish or was stopped, 2 wrong usage.

Several processes: `accelerate launch -m cli.train --recipe …` or `torchrun -m cli.train --recipe …`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path  # noqa: TC003  typer reads the annotations at run time
from typing import Annotated, Any

import typer

from core.errors import EditloomError, ModelError, UsageError, one_line
from trainer.config import make_config, parse_settings, read_config_file

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(name="train")
def train_command(
    recipe: Annotated[str, typer.Option(help="What is trained how: iedit")],
    data: Annotated[str | None, typer.Option(help="Dataset: a folder or fsspec URL with shards.json")] = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint to start from: zoo:sd, path:…, hf:…@<commit>")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for checkpoints, metrics, previews and the model")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings, a TOML file")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, if there is one")] = False,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a process and backward pass")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides order, noise and timesteps")] = None,
) -> None:  # fmt: skip
    """Train an editing model on a dataset. Options win over --set, which wins over the file and the recipe."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from trainer.recipes import find_recipe

    kind = find_recipe(recipe)
    options = {
        "data": data, "model": model, "out": out, "steps": steps, "batch_size": batch_size, "seed": seed,
    }  # fmt: skip
    values: dict[str, Any] = read_config_file(config) if config else {}
    values |= parse_settings(settings or [])
    values |= {key: value for key, value in options.items() if value is not None}
    made = make_config(kind, values)
    from trainer.loop import train

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


def main(argv: list[str]) -> int:
    """Run `editloom train` with these arguments; every error raised on purpose is one line on stderr, others pass."""
    try:
        # without standalone mode `typer.Exit` comes back as a value
        code = app(args=argv, standalone_mode=False, prog_name="editloom train")
    except UsageError as error:
        return _fail(one_line(error), 2)
    except (EditloomError, OSError, ModelError) as error:
        return _fail(one_line(error), 1)
    except KeyboardInterrupt:
        return _fail("interrupted", 1)
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is imported late
            return _fail(f"{one_line(error)[:200]}; lower batch_size, raise accumulate, set gradient_checkpointing", 1)
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # wrong usage of the command line itself
            return _fail(error.format_message() or "see editloom train --help", error.exit_code)
        raise
    return int(code or 0)


def _fail(message: str, code: int) -> int:
    print(f"editloom: {message}", file=sys.stderr)  # noqa: T201  the command's one way to say what went wrong
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
