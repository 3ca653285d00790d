"""Checkpoints: a folder a step, complete or absent, tensors as safetensors and everything else as JSON.

`<out>/checkpoints/step-00000100/state.safetensors` and `state.json`, and `manifest.json` with the size and sha256 of
both. The folder is filled under another name and then renamed, so a folder of that name is complete. Files that are
read back are compared with the manifest, so a training never resumes from other bytes than were written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from core.errors import TrainingError, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor

TENSORS, STATE, MANIFEST = "state.safetensors", "state.json", "manifest.json"
_NAME = re.compile(r"step-(\d{8,})")


def save_checkpoint(
    folder: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], keep: int
) -> Path:
    """Write the checkpoint of `step` and remove all but the last `keep`. Raises TrainingError when the disk is full."""
    final = folder / f"step-{step:08d}"
    partial = folder / f".{final.name}.new"
    with written(final):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
        (partial / STATE).write_text(json.dumps({**state, "step": step}, indent=1) + "\n", encoding="utf-8")
        (partial / MANIFEST).write_text(
            json.dumps({n: _described(partial / n) for n in (TENSORS, STATE)}, indent=1) + "\n"
        )
        for name in (TENSORS, STATE, MANIFEST):
            with (partial / name).open("rb") as handle:
                os.fsync(handle.fileno())
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return final


@contextmanager
def written(what: Path) -> Iterator[None]:
    """Within, a fault of writing `what` is raised as TrainingError, with the errors of safetensors among them."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{what} cannot be written ({one_line(error)}); fix the cause and resume") from error


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, from the first step to the last."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def check(checkpoint: Path) -> None:
    """Compare both files with the manifest. Raises TrainingError, which names the one that is not as it was written."""
    for name in (STATE, TENSORS):
        _check_file(checkpoint, name)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """The state of the checkpoint besides tensors, with its `step`. Raises TrainingError when it is damaged."""
    _check_file(checkpoint, STATE)
    try:
        state = json.loads((checkpoint / STATE).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(checkpoint, one_line(error)) from error
    step = state.get("step") if isinstance(state, dict) else None
    if type(step) is not int or step != int(checkpoint.name.removeprefix("step-")):
        raise damaged(checkpoint, f"{STATE} states no step, or another than the folder's name")
    return dict(state)


def read_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """All tensors, on the CPU. Raises TrainingError when the file is damaged."""
    from safetensors import SafetensorError

    try:
        tensors: dict[str, Tensor] = load_file(checkpoint / TENSORS)
    except (OSError, SafetensorError) as error:
        raise damaged(checkpoint, one_line(error)) from error
    return tensors


def damaged(checkpoint: Path, why: str) -> TrainingError:
    """The error for a checkpoint that no training can resume from."""
    return TrainingError(f"checkpoint {checkpoint} cannot be read ({why}); remove it to resume from the one before")


def _check_file(checkpoint: Path, name: str) -> None:
    try:
        listed = json.loads((checkpoint / MANIFEST).read_bytes())
        found = _described(checkpoint / name)
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(checkpoint, one_line(error)) from error
    if not isinstance(listed, dict) or listed.get(name) != found:
        raise damaged(checkpoint, f"{name} is not what was written: its size and sha256 are not those in {MANIFEST}")


def _described(file: Path) -> dict[str, Any]:
    with file.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}
