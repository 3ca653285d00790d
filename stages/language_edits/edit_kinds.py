"""Types of edit: what each asks of the language model in one line, and how much of a caption it may change.

The bounds are chosen, by reading edits of each type that people wrote; no paper gives any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stages.language_edits.words import EMPTY_WORDS, POSITIONS

Scope = Literal["add", "remove", "thing", "image"]
"""What an edit touches: it brings a thing, takes one away, changes one, or changes all of the image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EditKind:
    """A type of edit. Counts are of words with meaning, `removed_frac` of those of the source caption."""

    scope: Scope
    meaning: str = ""
    """One line for the prompt, or empty where the model knows the type without one."""
    removed_frac: float
    """Largest share of the caption that may go; two words always may."""
    num_added: int
    """Most words that may come."""
    removes_only: frozenset[str] = frozenset()
    """Words that alone may go, or empty for any."""
    keeps_thing: bool = False
    """The thing that the edit is about is still there afterwards, by the same noun."""
    num_places: int
    """Most places of the caption that may change."""


EDIT_KINDS = {
    "add": EditKind(
        scope="add", meaning="a thing that is not there is added", removed_frac=0.2, num_added=9, num_places=2,
        removes_only=EMPTY_WORDS,
    ),
    "remove": EditKind(
        scope="remove", meaning="a thing that is there is removed", removed_frac=0.75, num_added=1, num_places=2
    ),
    "replace": EditKind(
        scope="thing", meaning="a thing is replaced by another one", removed_frac=0.75, num_added=6, num_places=2
    ),
    "change_colour": EditKind(
        scope="thing", meaning="the colour of a thing is changed", removed_frac=0.5, num_added=4, num_places=2,
        keeps_thing=True,
    ),
    "transform_local": EditKind(
        scope="thing", meaning="a thing gets another shape, material, state, pose or expression", removed_frac=0.6,
        num_added=8, num_places=3, keeps_thing=True,
    ),
    "transform_global": EditKind(
        scope="image", meaning="season, weather, time of day or light of the whole photograph is changed",
        removed_frac=0.5, num_added=8, num_places=3,
    ),
    "change_background": EditKind(
        scope="image", meaning="the place behind the main thing is changed, the thing stays", removed_frac=0.75,
        num_added=8, num_places=3,
    ),
    "change_style": EditKind(
        scope="image", meaning="the photograph becomes a picture in another style or medium", removed_frac=0.4,
        num_added=8, num_places=2,
    ),
    "turn": EditKind(
        scope="thing", meaning="a thing is turned into one of another kind, where it is and as it is placed",
        removed_frac=0.75, num_added=6, num_places=2,
    ),
    "replace_noun": EditKind(scope="thing", removed_frac=0.5, num_added=3, num_places=2),
    "change_adjective": EditKind(scope="thing", removed_frac=0.5, num_added=3, num_places=2),
    "move": EditKind(
        scope="thing", removed_frac=0.4, num_added=4, num_places=2, removes_only=POSITIONS, keeps_thing=True
    ),
}  # fmt: skip
OTHER_KIND = EditKind(scope="image", removed_frac=0.6, num_added=8, num_places=3)
"""Bounds of a type that is not in the table."""


def kind_of(edit_type: str) -> EditKind:
    """The entry of a type of edit."""
    return EDIT_KINDS.get(edit_type, OTHER_KIND)
