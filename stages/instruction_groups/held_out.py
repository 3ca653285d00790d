"""Holds out instructions and pairs, so that nothing held out is seen in training, and names each pair's examples.

1. Pairs for which no other of their group has another image are rejected.
2. Out of domain: the first groups in the order of their draws. All their pairs are held out.
3. Training pairs that share an image with those are rejected, and so are those of which no partner is left.
4. In domain: single pairs of groups that keep two others, those first that share their images with the fewest, ties in
   the order of their draws. With a pair go those that share an image with it, which training could not use any more.
5. As 3, for the images of these. In-domain pairs without an example are rejected; their images stay out of training.

One pass is enough for "no partner is left": partners are each other's partners, so a pair without one is nobody's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.instruction_groups.pairs import InstructionReject, Pair, Split, partners_of, ring_of, without_partner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

LEAST_TO_DIVIDE = 4
"""Of fewer groups, or pairs, none is held out."""
LEAST_LEFT = 2
"""Pairs that a group keeps for training where one of it is held out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """How pairs are divided. `rank_of` is a group's draw."""

    out_of_domain_frac: float
    in_domain_frac: float
    max_examples: int
    rank_of: Callable[[str], float]


def divide(pairs: Sequence[Pair], division: Division) -> None:
    """Give each pair its split and its examples, or its problem. The result does not depend on their order."""
    _reject_single(pairs, "no other pair with another image follows its instruction")
    _hold_out_groups(list(_left(pairs)), division)
    _reject_sharing(pairs)
    _reject_single(_trained(pairs), "no other training pair with another image is left")
    _hold_out_pairs(list(_trained(pairs)), division.in_domain_frac)
    _reject_sharing(pairs)
    _reject_single(_trained(pairs), "no other training pair with another image is left")
    for pair in _trained(pairs):
        pair.split = Split.TRAIN
    _name_examples(pairs, division.max_examples)


def num_held_out(frac: float, count: int) -> int:
    """How many of `count` are held out: the nearest number, at least one, and none of fewer than LEAST_TO_DIVIDE."""
    if not frac or count < LEAST_TO_DIVIDE:
        return 0
    return min(max(1, int(frac * count + 0.5)), count - 1)


def _left(pairs: Iterable[Pair]) -> Iterator[Pair]:
    return (pair for pair in pairs if pair.problem is None)


def _trained(pairs: Iterable[Pair]) -> Iterator[Pair]:
    return (pair for pair in _left(pairs) if pair.split in (None, Split.TRAIN))


def _rings(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """Group -> its pairs, as a ring."""
    groups: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.group].append(pair)
    return {group: ring_of(own) for group, own in groups.items()}


def _reject_single(pairs: Iterable[Pair], detail: str) -> None:
    for ring in _rings(_left(pairs)).values():
        for pair in without_partner(ring):
            pair.problem = InstructionReject.SINGLE_PAIR, detail


def _hold_out_groups(pairs: Sequence[Pair], division: Division) -> None:
    groups = sorted({pair.group for pair in pairs}, key=lambda group: (division.rank_of(group), group))
    held = frozenset(groups[: num_held_out(division.out_of_domain_frac, len(groups))])
    for pair in pairs:
        if pair.group in held:
            pair.split = Split.OUT_OF_DOMAIN


def _hold_out_pairs(pairs: Sequence[Pair], frac: float) -> None:
    by_image: defaultdict[int, list[Pair]] = defaultdict(list)
    left = Counter(pair.group for pair in pairs)
    for pair in sorted(pairs, key=_draw):
        for image in pair.images:
            by_image[image].append(pair)
    num_sharing = {pair.sample_id: sum(len(by_image[image]) - 1 for image in pair.images) for pair in pairs}
    wanted = num_held_out(frac, len(pairs))
    for first in sorted(pairs, key=lambda pair: (num_sharing[pair.sample_id], _draw(pair))):
        if not wanted:
            return
        if first.split is not None or left[first.group] <= LEAST_LEFT:
            continue
        for pair in (first, *(other for image in first.images for other in by_image[image])):
            if wanted and pair.split is None and left[pair.group] > LEAST_LEFT:
                pair.split = Split.IN_DOMAIN
                left[pair.group] -= 1
                wanted -= 1


def _draw(pair: Pair) -> tuple[float, str]:
    return pair.rank, pair.sample_id


def _reject_sharing(pairs: Sequence[Pair]) -> None:
    """Reject training pairs with an image of a pair that is held out."""
    held: dict[int, str] = {}
    for pair in _left(pairs):
        if pair.split is not None:
            held |= {image: min(pair.sample_id, held.get(image, pair.sample_id)) for image in pair.images}
    for pair in _trained(pairs):
        if own := min((held[image] for image in pair.images if image in held), default=None):
            detail = f"shares an image with {own}, which is held out"
            pair.problem = InstructionReject.SHARES_HELD_OUT_IMAGE, detail


def _name_examples(pairs: Sequence[Pair], most: int) -> None:
    """The examples of each pair: of its group, held-out groups among themselves, all others from training."""
    rings = _rings(pair for pair in _left(pairs) if pair.split is not Split.IN_DOMAIN)
    for pair in _left(pairs):
        partners = partners_of(pair, rings.get(pair.group, []), most)
        pair.examples = [partner.sample_id for partner in partners]
        if not partners:
            pair.problem = InstructionReject.NO_EXAMPLE, "no training pair of its group with another image is left"
