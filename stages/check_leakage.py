"""Find images that are in lists of hashes, such as those of the benchmark that a model will be evaluated on.

Reads   source_images (list<binary>), and target_image (binary) where there is one
Writes  leak_distance (int32, bits of the nearest list image; no value where none is near)
Drops   rows whose source (leaked_source), or else target (leaked_target), is near an image of a list; the detail names
        the list and the distance
Source  dHash and pHash as in the ImageHash library; an image is near where both differ in at most `max_distance` bits.
        stages/leakage/ has the search, docs/filters.md what it finds and what it misses.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from models.hash_lists import HashList
from pipeline.stage import MapStage, Needs, Serves
from samples.columns import REJECT_DETAIL, REJECT_REASON, column
from samples.perceptual_hashes import image_hash
from samples.stored_images import distinct_images, first_encoded
from stages.leakage.lookup import MAX_DISTANCE, HashLookup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.context import Context
    from pipeline.stage import BatchFn

REDUCED_PX = 64
"""A JPEG is decoded at the smallest scale that leaves its shorter side this long: the hashes see 32 pixels."""


class Leak(StrEnum):
    """Which image of the row is in a list."""

    SOURCE = "leaked_source"
    TARGET = "leaked_target"


class CheckLeakage(MapStage):
    """Compares both images of a row with all images of the lists."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_images",)
    reads_if_present: ClassVar = ("target_image",)
    writes: ClassVar = ("leak_distance",)
    rejects: ClassVar = Leak
    needs: ClassVar = Needs(packages=("PIL", "imagehash"))

    lists: Annotated[tuple[str, ...], Field(strict=False, min_length=1), Serves(HashList, only_scores=True)]
    """Lists of hashes by `editloom hash-images`: `["path:magicbrush.hashes.parquet"]`."""
    max_distance: int = Field(default=8, ge=0, le=MAX_DISTANCE)
    """Most bits of 64 in which each of the two hashes may differ. Measured: docs/filters.md."""

    def open(self, ctx: Context) -> BatchFn:
        """Read the lists once."""
        near = _Lists([ctx.load(HashList, model) for model in self.lists], self.max_distance)

        def check(batch: pa.Table) -> pa.Table:
            sources = first_encoded(batch["source_images"])
            has_target = "target_image" in batch.column_names
            targets = batch["target_image"].to_pylist() if has_target else [None] * batch.num_rows
            found = near.find([one for one in (*sources, *targets) if one is not None])
            rows = [_verdict(found[source], found.get(target)) for source, target in zip(sources, targets, strict=True)]
            for place, name in enumerate((*self.writes, REJECT_REASON, REJECT_DETAIL)):
                kind = column(name).type if name in self.writes else pa.string()
                batch = batch.append_column(name, pa.array([row[place] for row in rows], kind))
            return batch

        return check


class _Lists:
    """The entries of all lists, and the list that each is of."""

    def __init__(self, lists: Sequence[HashList], max_distance: int) -> None:
        self._names = [one.name for one in lists]
        self._list_N = np.repeat(np.arange(len(lists)), [len(one.dhash_N) for one in lists])
        self._lookup = HashLookup(
            np.concatenate([one.dhash_N for one in lists]), np.concatenate([one.phash_N for one in lists]), max_distance
        )

    def find(self, encoded: Sequence[bytes]) -> dict[bytes, tuple[int, str] | None]:
        """Each image -> (distance, name of the list) of the nearest list image, or None where none is near."""
        images, _ = distinct_images(encoded, REDUCED_PX)
        hashes = [image_hash(image) for image in images]
        dhash_Q, phash_Q = (np.array([one[place] for one in hashes], np.uint64) for place in (0, 1))
        nearest = self._lookup.nearest(dhash_Q, phash_Q)
        found: dict[bytes, tuple[int, str] | None] = {}
        rows = zip(dict.fromkeys(encoded), nearest.distance_Q.tolist(), nearest.entry_Q.tolist(), strict=True)
        for image, distance, entry in rows:
            found[image] = None if entry < 0 else (distance, self._names[self._list_N[entry]])
        return found


def _verdict(
    source: tuple[int, str] | None, target: tuple[int, str] | None
) -> tuple[int | None, str | None, str | None]:
    """(leak_distance, reject reason, reject detail) of a row."""
    near: list[Any] = [one for one in (source, target) if one is not None]
    if not near:
        return None, None, None
    reason = Leak.TARGET if source is None else Leak.SOURCE
    distance, name = near[0]
    return min(one[0] for one in near), reason.value, f"{name}, distance {distance}"
