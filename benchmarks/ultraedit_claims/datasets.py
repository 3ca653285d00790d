"""The pools of pairs, each built once, and the part of a pool that a cell is trained on.

Drawn pools are built by the tiny UltraEdit manifests from more scenes than these have; `no-anchors` draws from noise
alone. Exact pools are written from the world. The pairs of a cell depend on its seed, so that spreads over seeds hold
the luck of the draw: seed s begins s times `count` samples further on in the pool, round its end.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks.ultraedit_data.variants import NO_ANCHOR, RECIPES, ROOT, build, changed
from samples.shards import SHARD_LIST
from zoo import write_edit_dataset, write_world
from zoo.dataset_shards import read_samples, write_shards

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.ultraedit_claims.cells import Part, Pool
    from benchmarks.ultraedit_claims.settings import Numbers

SCENES_PER_SHARD = 100
SCENES_SEED = 21
"""The world that `make data-pairs` draws too."""
EXACT_SEEDS: dict[str, int] = {"exact": 31, "exact-region": 32}
SAMPLES_PER_SHARD = 75


def pool_folder(out: Path, pool: Pool) -> Path:
    """The dataset of a pool."""
    return out / "pools" / pool / "dataset"


def make_pools(out: Path, numbers: Numbers) -> None:
    """Build every pool that is not there. Raises RuntimeError for a build that fails."""
    for pool, seed in EXACT_SEEDS.items():
        folder, is_region = pool_folder(out, "exact" if pool == "exact" else "exact-region"), pool == "exact-region"
        if not (folder / SHARD_LIST).is_file():
            count = numbers.region_pairs if is_region else max(4 * numbers.base_pairs, numbers.region_pairs)
            flags = [str(folder), "--count", str(count), "--seed", str(seed)]
            write_edit_dataset.main([*flags, "--regions"] if is_region else flags)
    _draw(out, "anchors", "free-form", {}, numbers.anchor_shards)
    _draw(out, "no-anchors", "free-form", NO_ANCHOR, numbers.anchor_shards)
    _draw(out, "region", "region", {}, numbers.region_shards)


def _draw(out: Path, pool: Pool, recipe: str, changes: dict[str, str], num_shards: int) -> None:
    """Build a pool by its manifest, from its own copy of the scenes."""
    if (pool_folder(out, pool) / SHARD_LIST).is_file():
        return
    print(f"building {pool} from {num_shards * SCENES_PER_SHARD} scenes", file=sys.stderr, flush=True)
    scenes = out / f"scenes-{num_shards}"
    flags = ["--shards", str(num_shards), "--scenes-per-shard", str(SCENES_PER_SHARD), "--seed", str(SCENES_SEED)]
    write_world.main([str(scenes), *flags, "--captions", "canonical", "--max-things", "2", "--plain"])
    text = (ROOT / "manifests" / "tiny" / f"{RECIPES[recipe]}.toml").read_text(encoding="utf-8")
    manifest = out / "pools" / f"{pool}.toml"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(changed(text, changes), encoding="utf-8")
    build(manifest, str(scenes), out / "pools" / pool)


def write_part(folder: Path, out: Path, part: Part, seed: int) -> None:
    """Write the pairs of one part of a cell's training, unless they are there. Raises ValueError for a small pool."""
    if not (folder / SHARD_LIST).is_file():
        samples = list(read_samples(pool_folder(out, part.pool)))
        if len(samples) < part.count:
            raise ValueError(
                f"the pool {part.pool} has {len(samples)} pairs, a cell needs {part.count}; "
                "raise the number of shards in benchmarks/ultraedit_claims/settings.py"
            )
        first = seed * part.count
        chosen = [samples[(first + number) % len(samples)] for number in range(part.count)]
        write_shards(folder, f"{part.pool}-{part.count}", chosen, SAMPLES_PER_SHARD)
