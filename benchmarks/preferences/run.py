"""How often the chosen edit of a preference pair is truly better than the rejected one, by each score.

`make bench-preferences`. Builds the tiny manifest from some of its five shards. Two readers, which had no part in the
scores, say of every candidate whether it shows its edit and keeps all else. Exits 1 where the shipped pairs miss a bar.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.left_rows import stage_rows  # noqa: E402  run from a checkout
from benchmarks.ultraedit_data.readers import READERS  # noqa: E402
from benchmarks.ultraedit_data.truth import anchor_scene, verdict  # noqa: E402
from benchmarks.ultraedit_data.variants import build  # noqa: E402
from samples.columns import PARENT_ID, SAMPLE_ID  # noqa: E402
from samples.stored_images import rgb_image  # noqa: E402
from stages.preferences.pairing import PairRule, Role, facts_of, paired  # noqa: E402
from zoo.world import facts_of as facts_of_scene  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Pairs = list[tuple[str, str]]
    """Chosen and rejected candidate of each pair."""

MANIFEST = ROOT / "manifests" / "tiny" / "preferences.toml"
CAPTIONS = ("source_caption", "target_caption")
SCORES = ("target_margin_cos", "target_caption_cos", "pair_direction_cos", "pair_dino_cos")
CHANCE = "synthesis_seed"
"""A random number of each candidate: what a score is worth that knows nothing."""
MAX_PIXELS = 1 << 20
MIN_SHARE_OF_DECIDED = 0.8
"""Bar: of the shipped pairs of which one edit is right and the other wrong, the chosen one is right in so many."""


@dataclass(frozen=True)
class Shares:
    """Shares of pairs in which an edit is right: each of the two, and each of the two alone."""

    pairs: int
    chosen_right: float
    rejected_right: float
    better: float
    worse: float

    @property
    def of_decided(self) -> float:
        """Of the pairs of which one edit alone is right: those of which it is the chosen one."""
        decided = self.better + self.worse
        return self.better / decided if decided else float("nan")


def shares(pairs: Pairs, is_right: Mapping[str, bool]) -> Shares:
    """The shares of some pairs."""
    both = np.array([(is_right[chosen], is_right[rejected]) for chosen, rejected in pairs], bool).reshape(-1, 2)
    chosen, rejected = both[:, 0], both[:, 1]
    columns = (chosen, rejected, chosen & ~rejected, rejected & ~chosen)
    return Shares(len(pairs), *(float(one.mean()) if len(pairs) else float("nan") for one in columns))


def shipped(out: Path) -> Pairs:
    """The pairs of the dataset."""
    rows = stage_rows(out, MANIFEST, "attach_rejected", [SAMPLE_ID])
    known = {row[SAMPLE_ID]: row["rejected_id"] for row in stage_rows(out, MANIFEST, "pair_preferences")}
    return [(row[SAMPLE_ID], known[row[SAMPLE_ID]]) for row in rows]


def pairs_by(rows: list[dict[str, Any]], score: str) -> Pairs:
    """Best and worst candidate of each edit by a score, without bounds and margin."""
    rule = PairRule(per=PARENT_ID, by=score, prefer="highest", rejected="worst", min_margin=0.0)
    table = pa.table({name: [row[name] for row in rows] for name in (SAMPLE_ID, PARENT_ID, score)})
    found, _ = paired(facts_of(table, 0, rule, pa.array([True] * len(rows))), rule)
    return [
        (rows[row["row"]][SAMPLE_ID], row["other_id"]) for row in found.to_pylist() if row["role"] == Role.CHOSEN
    ]  # fmt: skip


def rightness(out: Path, rows: list[dict[str, Any]]) -> dict[str, dict[str, bool]]:
    """Reader -> candidate -> whether it shows its edit and keeps all else."""
    edits = {row[SAMPLE_ID]: row for row in stage_rows(out, MANIFEST, "write_edits", [SAMPLE_ID, *CAPTIONS])}
    sources = stage_rows(out, MANIFEST, "read_webdataset", [SAMPLE_ID, "source_metadata"])
    before = {row[SAMPLE_ID]: facts_of_scene(anchor_scene(row["source_metadata"])) for row in sources}
    images = [rgb_image(row["target_image"], MAX_PIXELS) for row in rows]
    found: dict[str, dict[str, bool]] = {}
    for name, read in READERS.items():
        found[name] = {}
        for row, after in zip(rows, read(images), strict=True):
            edit, own = edits[row[PARENT_ID]], row[SAMPLE_ID]
            source = before[own.partition("-")[0]]
            found[name][own] = all(verdict(edit["source_caption"], edit["target_caption"], source, after))
    return found


def as_markdown(cells: Iterable[tuple[str, str, Shares]]) -> str:
    """The table."""
    names = ("pairs by", "reader", "pairs", "chosen right", "rejected right", "chosen alone", "rejected alone")
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines += [
        f"| {by} | {reader} | {one.pairs} | {one.chosen_right:.3f} | {one.rejected_right:.3f} | {one.better:.3f} | "
        f"{one.worse:.3f} |"
        for by, reader, one in cells
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Build, measure, print and write. Return 0, or 1 below the bar."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "preferences", help="%(default)s")
    parser.add_argument(
        "--shards", default="data/pairs", help="photographs, as `make data-pairs` draws them (%(default)s)"
    )
    parser.add_argument("--num-shards", type=int, default=5, help="shards that are built (%(default)s)")
    given = parser.parse_args()
    build(MANIFEST, given.shards, given.out, "--limit", str(given.num_shards))
    rows = stage_rows(given.out, MANIFEST, "synthesise_region", [SAMPLE_ID, PARENT_ID, "target_image", *SCORES, CHANCE])
    is_right = rightness(given.out, rows)
    ways = {"as shipped": shipped(given.out), **{score: pairs_by(rows, score) for score in (*SCORES, CHANCE)}}
    cells = [(by, reader, shares(pairs, is_right[reader])) for by, pairs in ways.items() for reader in READERS]
    text = as_markdown(cells)
    (given.out / "preferences.md").write_text(text, encoding="utf-8")
    print(text)
    missed = [f"{reader}: {one.of_decided:.3f}" for by, reader, one in cells
              if by == "as shipped" and not one.of_decided >= MIN_SHARE_OF_DECIDED]  # fmt: skip
    for fault in missed:
        print(f"below the bar of {MIN_SHARE_OF_DECIDED}: {fault}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
