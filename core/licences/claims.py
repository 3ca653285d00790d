"""What a manifest says of licences, held against what the parts of the dataset say themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.licences.classes import Ask, listed
from core.licences.names import find
from core.licences.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.licences.classes import Licence
    from core.licences.uses import ModelUse, Use


def warnings(claimed: str, uses: Sequence[Use], models: Sequence[ModelUse]) -> list[str]:
    """Each contradiction, a line each: of the licence `claimed` for the dataset, and of licences stated for models."""
    return [*_wrong_claim(claimed, uses), *_overruled(models)]


def _wrong_claim(claimed: str, uses: Sequence[Use]) -> Iterator[str]:
    """Why the dataset cannot have the licence `claimed`. A claim that is no known licence promises nothing."""
    claim = find(claimed)
    if not all(licence.is_known for licence in claim):
        return
    parts = [(use, licence) for use in uses if use.role.is_in_data for licence in use.licences]
    told: set[str] = set()
    for use, licence in parts:
        missing = _missing(licence, claim)
        if missing and licence.id not in told:
            told.add(licence.id)
            yield f"the manifest says {claimed!r}, but {licence.id} ({use.what}) asks: {listed(missing)}"
    unknown = [f"{use.what}: {licence.id}" for use, licence in parts if not licence.is_known]
    if unknown:
        yield f"the manifest says {claimed!r}, and these licences are unknown: {shortened(unknown)}"


def _missing(licence: Licence, claim: Sequence[Licence]) -> set[Ask]:
    """What `licence` asks and the claimed licences do not."""
    missing = set(licence.asks)
    for one in claim:
        missing -= one.asks - {Ask.SAME_LICENCE}
    return missing - {Ask.SAME_LICENCE} if licence.family in {one.family for one in claim} else missing


def _overruled(models: Sequence[ModelUse]) -> Iterator[str]:
    for model in models:
        if model.card_licence is not None and _rank(model.licence) < _rank(model.card_licence):
            yield f"the manifest states {model.licence!r} for {model.model}, which itself states {model.card_licence!r}"


def _rank(text: str | None) -> int:
    return max(licence.licence_class.rank for licence in find(text or ""))
