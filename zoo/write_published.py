"""`python -m zoo.write_published FOLDER --layout L --count N --seed S`: edits of the miniature world as others publish.

Exact edits in six layouts, for the manifests that convert published datasets:

| layout           | files                                                                                           |
|------------------|-------------------------------------------------------------------------------------------------|
| instruct-pix2pix | `0000000/prompt.json`, `metadata.jsonl`, `<seed>_0.jpg`, `<seed>_1.jpg` …, and `seeds.json`     |
| ultraedit        | `part-00000.parquet`: every other edit has a mask, white where it may change the image          |
| magicbrush       | `train-00000.parquet`: sessions of up to three turns; a mask is the source, its region clear    |
| omniedit         | `train-00000-of-00001.parquet`: two wordings of each instruction, scores of a judge             |
| imgedit          | `Parquet/*.parquet` with names, `Singleturn/*.tar.split.*` and `Multiturn/…` with images        |
| pico-banana      | `sft.jsonl`, `preference.jsonl`, `multi-turn.jsonl`, and the images that they name              |

CLIP scores of published datasets are absent, since nothing measured these. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.batches import HELD_OUT_SEED
from zoo.published.folders import write_pair_folders
from zoo.published.lines import write_pico_banana
from zoo.published.tables import write_magicbrush, write_omniedit, write_ultraedit
from zoo.published.tars import write_imgedit
from zoo.world import KINDS, SIZE_PX
from zoo.write_edits import EditOrder
from zoo.write_world import MIN_SIZE_PX

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYOUTS = {
    "instruct-pix2pix": write_pair_folders, "ultraedit": write_ultraedit, "magicbrush": write_magicbrush,
    "omniedit": write_omniedit, "imgedit": write_imgedit, "pico-banana": write_pico_banana,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Write what the command line orders. Return 0."""
    parser = argparse.ArgumentParser(prog="python -m zoo.write_published", description=str(__doc__).split(":", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=sorted(LAYOUTS), required=True)
    parser.add_argument("--count", type=int, default=100, help="how many edits (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which world (%(default)s)")
    parser.add_argument("--size-px", type=int, default=SIZE_PX, help="side of the images (%(default)s)")
    given = parser.parse_args(argv)
    if given.count < 1 or given.size_px < MIN_SIZE_PX:
        parser.error(f"needs at least one edit and {MIN_SIZE_PX} px")
    if given.seed < 0 or given.seed == HELD_OUT_SEED:
        parser.error(f"seed {given.seed} is none to train on: expected 0 or more, and not the held-out {HELD_OUT_SEED}")
    order = EditOrder(given.count, 0, KINDS, given.size_px, world_seed=given.seed)
    LAYOUTS[given.layout](given.folder, order)
    print(f"{given.count} edits in {given.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
