"""Draw edits of a caption from the sites that `EditFinder` found, and put them into the columns of an edit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.wordnet_edits.requests import request, templates_for

if TYPE_CHECKING:
    import random

    from stages.wordnet_edits.requests import Option, Site


def draw(sites: list[Site], number: int, rng: random.Random) -> list[tuple[str, Option]]:
    """`number` distinct edits, or all there are: every site once in random order, then again with another word."""
    order = list(sites)
    rng.shuffle(order)
    decks = [rng.sample(site.options, len(site.options)) for site in order]
    rounds = range(max(len(deck) for deck in decks))
    drawn = [
        (site.edit_type, deck[turn])
        for turn in rounds
        for site, deck in zip(order, decks, strict=True)
        if turn < len(deck)
    ]
    return drawn[:number]


def edit_columns(caption: str, edit_type: str, option: Option, rng: random.Random) -> dict[str, str]:
    """Captions, both instructions, type and phrases of an edit, its wording drawn."""
    template = rng.choice(templates_for(edit_type, option.source))
    return {
        "source_caption": caption,
        "target_caption": option.target_caption,
        "instruction": request(template, option.source, option.target),
        "reverse_instruction": request(template, option.target, option.source),
        "edit_type": edit_type,
        "source_phrase": option.source.phrase,
        "target_phrase": option.target.phrase,
    }
