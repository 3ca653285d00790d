"""How many turns of the tiny sessions are right, by turn, and how many of the pairs that they give.

`make bench-sessions`. Builds manifests/tiny/sessions.toml and reads its images. A build that was stopped resumes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.sessions.measure import kind_figures, read_pairs, turn_figures  # noqa: E402  run from a checkout
from benchmarks.ultraedit_data.readers import held_out_scenes, reliability  # noqa: E402
from benchmarks.ultraedit_data.variants import build  # noqa: E402

MANIFEST = ROOT / "manifests" / "tiny" / "sessions.toml"
NUM_HELD_OUT = 500
MAX_THINGS = 2
"""Of the scenes that the manifest edits, and so of those by which the readers are measured."""


def as_table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as a table."""
    head = f"| {' | '.join(rows[0])} |\n{'|---' * len(rows[0])}|\n"
    return head + "".join(
        f"| {' | '.join('' if one is None else str(one) for one in row.values())} |\n" for row in rows
    )


def main() -> int:
    """Build, measure, print and write. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "sessions", help="%(default)s")
    parser.add_argument("--shards", default="data/pairs", help="scenes, as `make data-pairs` draws them (%(default)s)")
    parser.add_argument("--limit", type=int, help="build so many shards only")
    given = parser.parse_args()
    flags = () if given.limit is None else ("--limit", str(given.limit))
    summary = build(MANIFEST, given.shards, given.out / "build", *flags)
    pairs = read_pairs(given.out / "build", MANIFEST)
    readers = reliability(held_out_scenes(NUM_HELD_OUT, MAX_THINGS))
    tables = [turn_figures(pairs), kind_figures(pairs), [{"reader": name, **one} for name, one in readers.items()]]
    result = {"build_s": round(summary["elapsed_s"], 1), "turns": tables[0], "pairs": tables[1], "readers": readers}
    (given.out / "sessions.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    print("\n".join(as_table(rows) for rows in tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
