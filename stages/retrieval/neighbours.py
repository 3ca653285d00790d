"""Neighbours of queries over several pools, without the source itself and its near-duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from samples.columns import ID_HEX_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from models.protocols import Floats
    from models.vector_index.index import Hits, VectorIndex

DECIMALS = 5
"""Kept of a cosine: what lies below depends on how rows fell into batches."""
DEEPER = (1, 4, 16)
"""Times as many candidates, for rows that lost theirs to the exclusions before they had enough."""


class Neighbour(NamedTuple):
    """An image that may be the target. Sorts nearest first, ties by id, then by pool."""

    far: float
    """The negated cosine with the query."""
    sample_id: str
    pool: str
    image_cos: float
    """Cosine with the source image."""


def find_neighbours(
    indexes: Mapping[str, VectorIndex], queries_BD: Floats, sources_BD: Floats, own_ids: Sequence[str], *, number: int,
    max_image_cos: float,
) -> list[list[Neighbour]]:  # fmt: skip
    """For each query at most `number` neighbours of all pools, nearest first.

    Left out are images of the source itself (`own_ids` are ids of images, 16 hex digits) and those whose cosine with
    the source is above `max_image_cos`. Where these take too many candidates, up to 16 times as many are looked at.
    """
    found: list[list[Neighbour]] = [[] for _ in own_ids]
    rows = np.arange(len(own_ids))
    num_vectors = sum(index.count for index in indexes.values())
    for depth in DEEPER:
        hits_by_pool = {
            pool: index.search(queries_BD[rows], (number + 1) * depth, others_BD=sources_BD[rows], effort=depth)
            for pool, index in indexes.items()
        }
        again = []
        for place, row in enumerate(rows.tolist()):
            hits = {pool: hits[place] for pool, hits in hits_by_pool.items()}
            found[row] = _others(hits, own_ids[row], max_image_cos)[:number]
            if len(found[row]) < number and sum(len(h.ids) for h in hits.values()) < num_vectors:
                again.append(row)
        rows = np.array(again, np.int64)
        if not again:
            break
    return found


def _others(hits_by_pool: Mapping[str, Hits], own_id: str, max_image_cos: float) -> list[Neighbour]:
    """All hits that may be targets, each image once."""
    near = sorted(
        Neighbour(-round(cos, DECIMALS), sample_id, pool, image_cos)
        for pool, hits in hits_by_pool.items()
        for sample_id, cos, image_cos in zip(hits.ids, hits.cos_R.tolist(), hits.other_cos_R.tolist(), strict=True)
        if image_cos <= max_image_cos and sample_id[:ID_HEX_DIGITS] != own_id
    )
    return list(_each_once(near))


def _each_once(near: Iterable[Neighbour]) -> Iterable[Neighbour]:
    seen = set()
    for neighbour in near:
        if neighbour.sample_id not in seen:
            seen.add(neighbour.sample_id)
            yield neighbour
