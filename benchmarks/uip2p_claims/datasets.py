"""The data of the trainings: one set of edits, without targets, as pairs drawn from their captions, and exact.

Seed s trains on the edits from s times `edits_per_seed` on, so that spreads over seeds hold the luck of the draw. Of
drawn pairs it has those that passed the filter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.uip2p_claims.settings import TAUGHT
from benchmarks.ultraedit_data.variants import build
from samples.shards import SHARD_LIST
from zoo.dataset_shards import read_samples, write_shards
from zoo.write_edit_dataset import samples_of
from zoo.write_edits import EditOrder, write_edits

if TYPE_CHECKING:
    from benchmarks.uip2p_claims.cells import Data
    from benchmarks.uip2p_claims.settings import Numbers

    Sample = tuple[str, dict[str, bytes]]
    """Key, and the members of the sample by suffix."""

MANIFEST = Path(__file__).with_name("drawn_pairs.toml")
SAMPLES_PER_SHARD = 50
TEXTS = ("source_caption", "instruction", "target_caption")
"""Columns by which a drawn pair is known as that of an edit."""


def _order(numbers: Numbers) -> EditOrder:
    count = numbers.edits_per_seed * numbers.num_seeds
    return EditOrder(count, 0, TAUGHT, world_seed=numbers.world_seed)


def drawn_folder(out: Path) -> Path:
    """The dataset of all drawn pairs."""
    return out / "drawn" / "dataset"


def make_data(out: Path, numbers: Numbers) -> None:
    """Draw the pairs, unless they are there. Raises RuntimeError for a build that fails."""
    if (drawn_folder(out) / SHARD_LIST).is_file():
        return
    edits = out / "edits"
    if not (edits / "cases.jsonl").is_file():
        write_edits(edits, _order(numbers))
    build(MANIFEST, str(edits / "cases.jsonl"), out / "drawn")


def write_data(folder: Path, out: Path, data: Data, seed: int, numbers: Numbers) -> None:
    """Write the samples of one cell and seed, unless they are there. Raises ValueError for a seed without edits."""
    if (folder / SHARD_LIST).is_file():
        return
    if seed >= numbers.num_seeds:
        raise ValueError(f"seed {seed} has no edits of its own; num_seeds in settings.py is {numbers.num_seeds}")
    first = seed * numbers.edits_per_seed
    exact = list(samples_of(_order(numbers), with_regions=False, with_targets=data == "exact"))
    own = exact[first : first + numbers.edits_per_seed]
    samples = own if data != "drawn" else _drawn_of(drawn_folder(out), own)
    if not samples:
        raise ValueError(f"no drawn pair of seed {seed} passed the filter; raise edits_per_seed in settings.py")
    write_shards(folder, data, samples, SAMPLES_PER_SHARD)


def _drawn_of(dataset: Path, edits: list[Sample]) -> list[Sample]:
    """The drawn pairs that show one of these edits."""
    wanted = {_texts(members) for _, members in edits}
    return [(key, members) for key, members in read_samples(dataset) if _texts(members) in wanted]


def _texts(members: dict[str, bytes]) -> tuple[str, ...]:
    known = json.loads(members["json"])
    return tuple(known[name] for name in TEXTS)
