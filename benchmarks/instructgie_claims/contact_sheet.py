"""`python benchmarks/instructgie_claims/contact_sheet.py IMAGE`: held-out edits by each cell of the benchmark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.claims import contact_sheet  # noqa: E402  run from a checkout
from benchmarks.claims.folders import task_folder, training_folder  # noqa: E402
from benchmarks.instructgie_claims.cells import OUT_OF_DOMAIN, cells  # noqa: E402
from benchmarks.instructgie_claims.run import OUT, cases_folder  # noqa: E402
from benchmarks.instructgie_claims.settings import Numbers  # noqa: E402
from evaluation.run import OUTPUTS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence


def columns(out: Path, seed: int) -> dict[str, Path]:
    """Heading -> folder of outputs, for edits whose instruction was not trained on."""
    wanted = {cell.name: training_folder(out, cell.name, seed) for cell in cells(Numbers()).values()}
    folders = {name: task_folder(folder, OUT_OF_DOMAIN) / OUTPUTS for name, folder in wanted.items()}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet. Return 0, or 1 where no cell has run."""
    title = str(__doc__).rpartition(": ")[2]
    return contact_sheet.main(title, OUT, columns, argv, lambda out, seed: cases_folder(out, seed, OUT_OF_DOMAIN))


if __name__ == "__main__":
    sys.exit(main())
