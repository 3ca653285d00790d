"""Sessions from rows that have a first edit, and the rows of a session's pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samples.columns import PARENT_ID, SAMPLE_ID
from samples.stored_images import made_image
from stages.sessions.chain import Session
from stages.sessions.pairs import TEXTS, Turn, composed_pair, inverse_pair, turn_pair

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Collection, Iterator, Mapping

    from stages.sessions.pairs import Row

MADE = ("edit_model", "synthesis_seed", "edit_input_tokens", "edit_output_tokens")
"""Columns that say how a turn's image was made."""


def session_of(row: Mapping[str, Any], rng: random.Random) -> Session:
    """The session of a row: its own edit as the first turn, and the texts of the turns to come."""
    first = Turn(
        source=(row["source_images"][0], row["source_format"]), target=(row["target_image"], row["target_format"]),
        texts={name: row.get(name) for name in TEXTS}, columns={name: row.get(name) for name in MADE},
    )  # fmt: skip
    return Session(sample_id=row[SAMPLE_ID], turns=[first], ahead=list(row["further_turns"] or ()), rng=rng)


def session_rows(
    session: Session, further: Collection[str], inverse_types: Collection[str], notes: Counter[str]
) -> list[Row]:
    """A row for each pair: turns first, then compositions, then inverses. Notes count them by kind."""
    pairs = list(_pairs(session, further, inverse_types, notes))
    own = {PARENT_ID: session.sample_id, "session_id": session.sample_id}
    notes.update(f"session pairs: {row['pair_kind']}" for _, row in pairs)
    notes["session pairs"] += len(pairs)
    known: dict[bytes, Row] = {}
    rows = []
    for suffix, row in pairs:
        (source,) = row["source_images"]
        if source not in known:
            known[source] = _about_source(source)
        rows.append({SAMPLE_ID: f"{session.sample_id}-{suffix}", **own, **known[source], **row})
    return rows


def _pairs(
    session: Session, further: Collection[str], inverse_types: Collection[str], notes: Counter[str]
) -> Iterator[tuple[str, Row]]:
    """(suffix of the id, row) of each pair."""
    turns = session.turns
    yield from (turn_pair(number, turn) for number, turn in enumerate(turns, start=1))
    if "composition" in further:
        for number in range(2, len(turns) + 1):
            composed = composed_pair(turns[:number])
            if composed is None:
                notes["compositions left out: a turn changes an earlier one, or has no instruction"] += 1
            else:
                yield composed
    if "inverse" in further:
        for number, turn in enumerate(turns, start=1):
            inverse = inverse_pair(number, turn, inverse_types)
            if inverse is not None:
                yield inverse


def _about_source(encoded: bytes) -> Row:
    """Size and perceptual hash of a source image, by the names of their columns."""
    import imagehash

    image = made_image(encoded)
    return {
        "source_dhash": int(str(imagehash.dhash(image)), 16), "width_px": image.width, "height_px": image.height,
    }  # fmt: skip
