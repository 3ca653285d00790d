"""Checkpoints: a folder a step, written whole or not at all, tensors as safetensors and everything else as JSON.

`<out>/checkpoints/step-00000100/state.safetensors` and `state.json`. The folder is filled beside its place and moved
there, so what has the name is complete.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from trainer.errors import TrainingError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

TENSORS, STATE = "state.safetensors", "state.json"
_NAME = re.compile(r"step-(\d{8,})")


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], keep: int
) -> Path:
    """Write the checkpoint of `step` and remove all but the last `keep`. Raises TrainingError when the disk is full."""
    final = folder / f"step-{step:08d}"
    beside = folder / f".{final.name}.new"
    with written(final):
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, beside / TENSORS)
        (beside / STATE).write_text(json.dumps({**state, "step": step}, indent=1) + "\n", encoding="utf-8")
        for name in (TENSORS, STATE):
            with (beside / name).open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(final, ignore_errors=True)
        beside.rename(final)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


@contextmanager
def written(what: Path) -> Iterator[None]:
    """Makes one error of those that safetensors has for a full disk, TrainingError, which names `what`."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{what} cannot be written ({one_line(error)}); mend that and resume") from error


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, from the first step to the last."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """What the checkpoint says besides tensors. Raises TrainingError when it is damaged."""
    try:
        state: dict[str, Any] = json.loads((checkpoint / STATE).read_bytes())
    except (OSError, ValueError) as error:
        raise _damaged(checkpoint, error) from error
    return state


def read_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """All tensors, on the CPU. Raises TrainingError when the file is damaged."""
    from safetensors import SafetensorError

    try:
        tensors: dict[str, Tensor] = load_file(checkpoint / TENSORS)
    except (OSError, SafetensorError) as error:
        raise _damaged(checkpoint, error) from error
    return tensors


def _damaged(checkpoint: Path, error: BaseException) -> TrainingError:
    return TrainingError(
        f"checkpoint {checkpoint} cannot be read ({one_line(error)}); remove it to resume from the one before"
    )
