"""`python benchmarks/regions_claims/contact_sheet.py IMAGE`: held-out edits by each cell, and the regions of some."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import contact_sheet  # noqa: E402  run from a checkout
from benchmarks.claims.folders import task_folder, training_folder  # noqa: E402
from benchmarks.regions_claims.cells import EDITS, cells  # noqa: E402
from benchmarks.regions_claims.run import OUT, REGIONS  # noqa: E402
from benchmarks.regions_claims.settings import Numbers  # noqa: E402
from evaluation.run import OUTPUTS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTLINED = ("full", "without-clip", "without-semantic", "clipseg")
"""Cells whose regions are shown."""


def columns(out: Path, seed: int) -> dict[str, Path]:
    """Heading -> folder of images: outlines of regions, and the edits of every cell by every task."""
    wanted: dict[str, Path] = {}
    numbers = Numbers()
    for cell in cells(numbers).values():
        folder = training_folder(out, cell.name, seed)
        if cell.name in OUTLINED:
            wanted[f"{cell.name}, region"] = task_folder(folder, REGIONS)
        if cell.name != "whole-image":
            wanted |= {
                cell.name if task == EDITS else f"{cell.name}, {numbers.other_generator}": task_folder(folder, task)
                for task in cell.tasks
            }
    return {name: folder / OUTPUTS for name, folder in wanted.items() if (folder / OUTPUTS).is_dir()}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet. Return 0, or 1 where no cell has run."""
    return contact_sheet.main(str(__doc__).rpartition(": ")[2], OUT, columns, argv)


if __name__ == "__main__":
    sys.exit(main())
