"""A pair as the grouping sees it, and what tells that two pairs show one image.

A pair has several identities; two pairs are of one image where they have one in common:

| identity                       | pairs that have it                                                                |
|--------------------------------|-----------------------------------------------------------------------------------|
| the sample_id itself           | all                                                                               |
| the photograph, by its 16 hex  | undrawn ones (no `candidate_number`) by their sample_id, which begins with the    |
| digits                         | hash of the source's bytes; drawn ones by `anchor_id`; retrieved targets by       |
|                                | `target_id`, which is the source of another row                                   |
| the edit, by its sample_id     | candidates drawn from noise alone (no `anchor_id`): a further drawing of the same |
|                                | two captions counts as the same image, one of other captions does not             |
| the look of the source         | all with a `source_dhash`: equal hashes                                           |
| the session                    | all with a `session_id`: the source of a turn is the target of the one before it  |

Not noticed: a target of the input that is the target or source of another row outside of its session.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

IDENTITY_COLUMNS = ("source_dhash", "anchor_id", "candidate_number", "target_id", "session_id")
_CANDIDATE = re.compile(r"-c[0-9]+.*$")


class Split(StrEnum):
    """Where a pair belongs: trained on, held out alone, or held out with its whole instruction."""

    TRAIN = "train"
    IN_DOMAIN = "in_domain"
    OUT_OF_DOMAIN = "out_of_domain"


class InstructionReject(StrEnum):
    """Why a pair cannot be used."""

    NO_INSTRUCTION = "no_instruction"
    SINGLE_PAIR = "single_pair"
    SHARES_HELD_OUT_IMAGE = "shares_held_out_image"
    NO_EXAMPLE = "no_example"


@dataclass(slots=True, eq=False)
class Pair:
    """One row. `text` is the key of its instruction; `rank` and `place` are drawn, for holding out and for examples."""

    sample_id: str
    text: str
    images: tuple[int, ...]
    rank: float = 0.0
    place: float = 0.0
    group: str = ""
    split: Split | None = None
    problem: tuple[InstructionReject, str] | None = None
    examples: list[str] = field(default_factory=list)

    @property
    def order(self) -> tuple[float, str]:
        """Its place on the ring of its group."""
        return self.place, self.sample_id

    def shares_image(self, other: Pair) -> bool:
        """True for two pairs of one image."""
        return any(image in other.images for image in self.images)


def pair_of(row: Mapping[str, Any], text: str, rng: Random) -> Pair:
    """The pair of a row that follows the instruction of key `text`."""
    return Pair(row[SAMPLE_ID], text, images_of(row), rank=rng.random(), place=rng.random())


def images_of(row: Mapping[str, Any]) -> tuple[int, ...]:
    """Each identity of the row's images, as 64 bits of its hash."""
    texts = dict.fromkeys(f"{kind}/{value}" for kind, value in _identities(row))
    return tuple(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts)


def _identities(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    own, anchor = row[SAMPLE_ID], row.get("anchor_id")
    yield "pair", own
    if row.get("candidate_number") is None:
        yield "image", _photograph(own)
    elif anchor is None:
        yield "edit", _CANDIDATE.sub("", own)
    for named in (anchor, row.get("target_id")):
        if named is not None:
            yield "image", _photograph(named)
    for column in ("source_dhash", "session_id"):
        if row.get(column) is not None:
            yield column, row[column]


def _photograph(sample_id: str) -> str:
    return sample_id.partition("-")[0]


def ring_of(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs in the order in which they are each other's examples, the first after the last."""
    return sorted(pairs, key=lambda pair: pair.order)


def partners_of(pair: Pair, ring: Sequence[Pair], most: int) -> list[Pair]:
    """The next pairs on the ring with other images, so that all of a ring serve about equally often."""
    start = bisect_right(ring, pair.order, key=lambda other: other.order)
    found: list[Pair] = []
    for step in range(len(ring)):
        if len(found) == most:
            break
        other = ring[(start + step) % len(ring)]
        if not pair.shares_image(other):
            found.append(other)
    return found


def without_partner(ring: Sequence[Pair]) -> list[Pair]:
    """The pairs of a ring for which none of the others has another image."""
    shared = Counter(image for pair in ring for image in pair.images)
    if len(ring) in shared.values():  # one image in all of them, such as a name of session that says nothing
        return list(ring)
    return [pair for pair in ring if not partners_of(pair, ring, 1)]
