"""`python benchmarks/ultraedit_claims/contact_sheet.py IMAGE`: held-out edits by each cell of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import contact_sheet  # noqa: E402  run from a checkout
from benchmarks.claims.claims import Asked  # noqa: E402
from benchmarks.claims.folders import plain_folder, training_folder  # noqa: E402
from benchmarks.ultraedit_claims.cells import cells  # noqa: E402
from benchmarks.ultraedit_claims.run import OUT  # noqa: E402
from benchmarks.ultraedit_claims.settings import EDITORS, Numbers  # noqa: E402
from evaluation.run import OUTPUTS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence


def columns(out: Path, seed: int) -> dict[str, Path]:
    """Heading -> folder of outputs, of each editor that no cell trains, and of each cell and task that has run."""
    plain = {name: plain_folder(out, name) / OUTPUTS for name in EDITORS}
    found = {name: folder for name, folder in plain.items() if folder.is_dir()}
    for cell in cells(Numbers()).values():
        for task in cell.tasks:
            folder = training_folder(out, cell.name, seed) / task / OUTPUTS
            if folder.is_dir():
                found[Asked(cell.name, task).name if len(cell.tasks) > 1 else cell.name] = folder
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet. Return 0, or 1 where no cell has run."""
    return contact_sheet.main(str(__doc__).rpartition(": ")[2], OUT, columns, argv)


if __name__ == "__main__":
    sys.exit(main())
