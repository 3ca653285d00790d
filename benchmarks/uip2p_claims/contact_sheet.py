"""`python benchmarks/uip2p_claims/contact_sheet.py IMAGE`: held-out edits by each cell of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import contact_sheet  # noqa: E402  run from a checkout
from benchmarks.claims.claims import Asked  # noqa: E402
from benchmarks.claims.folders import plain_folder, task_folder, training_folder  # noqa: E402
from benchmarks.claims.plain import COMMON_START  # noqa: E402
from benchmarks.uip2p_claims.cells import SINGLE, STEPS, cells, of_steps  # noqa: E402
from benchmarks.uip2p_claims.run import OUT  # noqa: E402
from benchmarks.uip2p_claims.settings import EDITORS, Numbers  # noqa: E402
from evaluation.run import OUTPUTS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence


def columns(out: Path, seed: int) -> dict[str, Path]:
    """Heading -> folder of outputs: of ready editors, of each cell, and of one cell with few steps and many."""
    wanted = {name: task_folder(plain_folder(out, name), SINGLE) for name in (COMMON_START, *EDITORS)}
    for cell in cells(Numbers()).values():
        wanted[cell.name] = task_folder(training_folder(out, cell.name, seed), SINGLE)
    for number in STEPS:
        task = of_steps(number)
        wanted[Asked("uip2p", task).name] = task_folder(training_folder(out, "uip2p", seed), task)
    return {name: folder / OUTPUTS for name, folder in wanted.items() if (folder / OUTPUTS).is_dir()}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet. Return 0, or 1 where no cell has run."""
    return contact_sheet.main(str(__doc__).rpartition(": ")[2], OUT, columns, argv)


if __name__ == "__main__":
    sys.exit(main())
