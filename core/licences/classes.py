"""The classes of licences, from the least to the most restrictive, and what a licence can ask for.

The order says which licence decides where several meet. It is about a dataset of edited images that people train
models on:

public-domain   asks nothing.
permissive      asks to keep a notice, which one file beside the data does.
attribution     asks to name each author, which takes work for each sample.
share-alike     decides the licence of the result, and allows every use under it.
use-restricted  forbids some uses, to everybody who gets the data later, too.
non-commercial  forbids a large part of all uses, or allows research alone.
no-derivatives  forbids to publish a changed image, and an edited image is one.
unknown         may forbid everything, so nothing is stricter.

This is no legal advice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class LicenceClass(StrEnum):
    """How much a licence restricts, in order: a later member is more restrictive."""

    PUBLIC_DOMAIN = "public-domain"
    PERMISSIVE = "permissive"
    ATTRIBUTION = "attribution"
    SHARE_ALIKE = "share-alike"
    USE_RESTRICTED = "use-restricted"
    NON_COMMERCIAL = "non-commercial"
    NO_DERIVATIVES = "no-derivatives"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """Place in the order, from 0."""
        return list(LicenceClass).index(self)


class Ask(StrEnum):
    """What a licence asks of the one who publishes or uses the data."""

    NOTICE = "keep the notice"
    ATTRIBUTION = "name the author"
    SAME_LICENCE = "publish under the same licence"
    USE_LIMITS = "pass on the limits of use"
    NO_RIVAL_MODELS = "train no competing model"
    NO_COMMERCIAL_USE = "no commercial use"
    NO_CHANGES = "publish no changed version"


@dataclass(frozen=True, slots=True)
class Licence:
    """One licence. `family` has the licences that its share-alike clause accepts, empty where it has no such clause."""

    id: str
    licence_class: LicenceClass
    asks: frozenset[Ask]
    family: str = ""

    @property
    def is_known(self) -> bool:
        """True where the table says what the licence asks for."""
        return self.licence_class is not LicenceClass.UNKNOWN


def unknown(text: str) -> Licence:
    """A licence of which nothing is known but its text."""
    return Licence(text, LicenceClass.UNKNOWN, frozenset())


def listed(asks: Collection[Ask]) -> str:
    """What is asked, in the order of `Ask`."""
    return ", ".join(ask for ask in Ask if ask in asks)
