"""Metrics of a training: metrics.jsonl, TensorBoard, sample grids. Rows are written at once, so a kill loses none.

A row has `step` (optimiser steps done), `epoch` (samples seen / samples there are), `loss` and `loss/<part>` of that
step's samples over all processes, `grad_norm` (before clipping), `learning_rate`, `samples_per_s` since the row before,
`step_s`, and `gpu_memory_bytes` (peak so far) on a GPU.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from core.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from PIL.Image import Image

METRICS = "metrics.jsonl"
TIMINGS = ("samples_per_s", "step_s", "gpu_memory_bytes")
"""Columns that differ from run to run; all others repeat exactly."""


class Metrics:
    """Writes under `out`; rows that an earlier run wrote after `step` are removed, as if it had ended there."""

    def __init__(self, out: Path, step: int) -> None:
        self._out, self._path = out, out / METRICS
        kept = [row for row in read_metrics(out) if row["step"] <= step]
        beside = self._path.with_suffix(".new")
        beside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        beside.replace(self._path)
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)
        self._since_s, self._since_step = time.monotonic(), step

    def log(self, step: int, values: Mapping[str, float], *, samples_per_step: int) -> dict[str, Any]:
        """Write the row of `step` with the time since the last, and return it."""
        now_s = time.monotonic()
        step_s = (now_s - self._since_s) / max(1, step - self._since_step)
        self._since_s, self._since_step = now_s, step
        row = {"step": step, **values, "samples_per_s": samples_per_step / step_s, "step_s": step_s}
        if torch.cuda.is_available():
            row["gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step":
                self._board.add_scalar(name, value, step)
        return row

    def show(self, step: int, grid: Image) -> None:
        """Write the sample grid of `step`: previews/step-….png and TensorBoard."""
        folder = self._out / "previews"
        folder.mkdir(exist_ok=True)
        grid.save(folder / f"step-{step:08d}.png")
        self._board.add_image("previews", np.asarray(grid), step, dataformats="HWC")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time spent within, on a checkpoint or a preview, out of the speed of the next row."""
        begun_s = time.monotonic()
        yield
        self._since_s += time.monotonic() - begun_s

    def close(self) -> None:
        """Flush TensorBoard."""
        self._board.close()


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """The rows of a training's metrics.jsonl, without one that a kill cut off; empty when there is no file.

    Raises TrainingError for a line that no training wrote.
    """
    path = out / METRICS
    *lines, _cut = path.read_bytes().split(b"\n") if path.is_file() else [b""]
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not _is_row(row):
            raise TrainingError(f"{path} line {number} is no row of metrics; remove the line, or the file, and resume")
        rows.append(row)
    return rows


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return False
    return all(isinstance(value, int | float) for value in row.values())
