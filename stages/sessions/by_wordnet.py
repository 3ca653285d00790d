"""The next turn of a session by WordNet: one noun, colour or adjective of the last caption changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from stages.wordnet_edits.drawing import draw, edit_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stages.sessions.turns import Row, SessionTexts
    from stages.wordnet_edits.edits import EditFinder
    from stages.wordnet_edits.requests import Site


class WordnetTurns:
    """A TurnWriter over the words that may change in a caption."""

    def __init__(self, finder: EditFinder) -> None:
        self._finder = finder

    def write(self, sessions: Sequence[SessionTexts]) -> list[Row | None]:
        """An edit of each session's last caption, or None where WordNet has none."""
        return [self._edit(one) for one in sessions]

    def _edit(self, session: SessionTexts) -> Row | None:
        caption = session.captions[-1]
        found = [_without_steps_back(site, session) for site in self._finder.sites(caption)]
        sites = [site for site in found if site.options]
        if not sites:
            return None
        ((edit_type, option),) = draw(sites, 1, session.rng)
        return {
            **edit_columns(caption, edit_type, option, session.rng),
            "edit_object": option.source.bare or option.source.phrase,
            "edit_writer": "wordnet",
        }


def _without_steps_back(site: Site, session: SessionTexts) -> Site:
    """The site with the options that lead to a caption which the session did not have."""
    return replace(site, options=tuple(one for one in site.options if not session.had(one.target_caption)))
