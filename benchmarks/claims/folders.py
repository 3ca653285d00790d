"""Where the trainings and images of a benchmark of claims lie below its run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def training_folder(out: Path, cell: str, seed: int) -> Path:
    """Where a cell is trained and its editor's images are."""
    return out / f"seed-{seed}" / cell


def plain_folder(out: Path, editor: str) -> Path:
    """Where the images of an editor are that no cell trains."""
    return out / "plain" / editor.replace(" ", "-")


def task_folder(folder: Path, task: str) -> Path:
    """Where the images of a task are, below the folder of an editor."""
    return folder / task.replace(" ", "-")
