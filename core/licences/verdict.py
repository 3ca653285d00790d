"""The verdict on a dataset: the most restrictive licence of all that is in it, what is asked, what is unknown.

A dataset is a collection, in which works under different licences may lie side by side. Where two of them meet in one
work (a model's edit of an image), clauses can contradict each other; these are named as conflicts.

This is no legal advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from core.licences.classes import Ask, LicenceClass, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from core.licences.classes import Licence
    from core.licences.uses import Use

LIMITING = frozenset({Ask.USE_LIMITS, Ask.NO_RIVAL_MODELS, Ask.NO_COMMERCIAL_USE, Ask.NO_CHANGES})
"""What a share-alike licence does not let anybody add."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The verdict on all parts that are in the data. `with_scores` counts the models that only score, too."""

    licence_class: LicenceClass
    """The most restrictive class; unknown where any part is."""
    known_class: LicenceClass | None
    """The most restrictive class of what is known, None where nothing is."""
    with_scores: LicenceClass
    licences: frozenset[LicenceClass]
    """The classes of all parts that are in the data."""
    asks: tuple[Ask, ...]
    """What the known licences ask for together."""
    deciding: tuple[str, ...]
    """The parts with the class `known_class`, as `licence (what)`."""
    unknown: tuple[str, ...]
    """The parts of which nobody states a licence, or one that the table does not have, as `what: text`."""
    conflicts: tuple[str, ...]
    """Pairs of licences that cannot both be kept in one work, each with the reason."""

    def outside(self, allowed: Iterable[LicenceClass]) -> list[LicenceClass]:
        """The classes of parts in the data that are not allowed, in order. What asks nothing is always allowed."""
        return sorted(self.licences - {*allowed, LicenceClass.PUBLIC_DOMAIN}, key=lambda one: one.rank)


def verdict_of(uses: Sequence[Use]) -> Verdict:
    """The verdict on these parts. Without any part in the data it is unknown, as nothing says that it is free."""
    in_data = [(use, licence) for use in uses if use.role.is_in_data for licence in use.licences]
    everything = [licence for use in uses for licence in use.licences]
    known = [(use, licence) for use, licence in in_data if licence.is_known]
    worst = _worst(licence for _, licence in known)
    asked = {ask for _, licence in known for ask in licence.asks}
    return Verdict(
        licence_class=_worst(licence for _, licence in in_data) or LicenceClass.UNKNOWN,
        known_class=worst,
        with_scores=_worst(everything) or LicenceClass.UNKNOWN,
        licences=frozenset(licence.licence_class for _, licence in in_data) or frozenset({LicenceClass.UNKNOWN}),
        asks=tuple(ask for ask in Ask if ask in asked),
        deciding=tuple(f"{one.id} ({use.what})" for use, one in known if one.licence_class is worst),
        unknown=tuple(f"{use.what}: {licence.id}" for use, licence in in_data if not licence.is_known),
        conflicts=_conflicts({licence.id: licence for _, licence in known}.values()),
    )


def _worst(licences: Iterable[Licence]) -> LicenceClass | None:
    return max((one.licence_class for one in licences), key=lambda one: one.rank, default=None)


def _conflicts(licences: Iterable[Licence]) -> tuple[str, ...]:
    """Each pair that contradicts itself, with the reason."""
    pairs = ((one, other, _conflict(one, other)) for one, other in combinations(licences, 2))
    return tuple(f"{one.id} and {other.id}: {reason}" for one, other, reason in pairs if reason)


def _conflict(one: Licence, other: Licence) -> str | None:
    if one.family and other.family:
        return None if one.family == other.family else "each asks for the same licence, its own"
    for sharing, limiting in ((one, other), (other, one)):
        added = limiting.asks & LIMITING - sharing.asks
        if sharing.family and added:
            return f"{sharing.id} asks for the same licence, and {limiting.id} adds: {listed(added)}"
    return None
