"""Find the texts of an edit in a row of a published dataset, under the names that datasets give them.

Known are the names of InstructPix2Pix (`input` or `caption`, `edit`, `output`), UltraEdit (its tables, the generator's
input and its output), HQ-Edit, MagicBrush and OmniEdit. Owns names; does not read files.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stages.inputs.rows import MAX_TEXT_BYTES, clean_caption

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEXT_NAMES: dict[str, tuple[str, ...]] = {
    "source_caption": ("source_caption", "input_text", "input", "caption"),
    "target_caption": ("target_caption", "output_text", "output", "new_caption"),
    "instruction": (
        "instruction", "edit_instruction", "edit_prompt", "edit", "edit_instance", "edited_prompt_list",
    ),
    "reverse_instruction": ("reverse_instruction", "inverse_edit", "inverse_instruction"),
    "edit_object": ("edit_object",),
    "edit_type": ("edit_type", "edit_task", "task"),
}  # fmt: skip
"""Column -> names under which its text is looked for; the first that has one counts. Of a list, its first text."""
IMAGE_NAMES: dict[str, tuple[str, ...]] = {
    "source_image": ("source_image", "input_image", "source_img", "src_img"),
    "target_image": ("target_image", "edited_image", "output_image", "target_img", "edited_img"),
    "mask_image": ("mask_image", "mask_img"),
}
"""Image of a triple -> names under which it is looked for."""
SESSION_NAMES: dict[str, tuple[str, ...]] = {"session_id": ("img_id",), "turn": ("turn_index",)}
"""Session of an edit, and its place in there from 1 on -> names under which they are looked for."""
NOTHING = "NONE"
"""The text of UltraEdit in place of an object or a mask, for an edit of the whole image."""
TEXT_COLUMNS = (*TEXT_NAMES, "edit_writer")
WRITER = "input"
MAX_TURN = (1 << 31) - 1
MAX_SESSION_CHARS = 512
MAX_WORDINGS = 100
"""Most wordings of one instruction; OmniEdit has a few."""
MAX_TURNS = 100
"""Most turns of one session that is one row of the input; Pico-Banana-400K has five at most."""

Names = dict[str, tuple[str, ...]]


def names_with(columns: Mapping[str, str]) -> Names:
    """The known names, those of `columns` replaced. Raises ValueError for a column that no edit has."""
    known = {**TEXT_NAMES, **IMAGE_NAMES, **SESSION_NAMES}
    unknown = sorted(set(columns) - set(known))
    if unknown:
        raise ValueError(f"columns {', '.join(unknown)} are none of an edit; expected {', '.join(known)}")
    return known | {name: (theirs,) for name, theirs in columns.items()}


def texts_in(row: Mapping[str, Any], names: Names) -> dict[str, str | None]:
    """The texts of the edit, each on one line, None for one that is absent or blank."""
    found = {column: _first_text(row, names[column]) for column in TEXT_NAMES}
    if found["edit_object"] == NOTHING:
        found["edit_object"] = None
    return {**found, "edit_writer": WRITER}


def session_in(row: Mapping[str, Any], names: Names) -> tuple[str | None, int | None]:
    """(name of the session, turn from 1 on), or Nones for an edit that is in none.

    Raises ValueError for a turn without a session, and for one that is no number from 1 on.
    """
    session, turn = (
        next((row[name] for name in names[column] if row.get(name) is not None), None) for column in SESSION_NAMES
    )
    if turn is None:
        return None, None
    if not isinstance(turn, int) or isinstance(turn, bool) or not 1 <= turn <= MAX_TURN:
        raise ValueError(f"turn {str(turn)[:80]!r} is no number from 1 on")
    if not isinstance(session, str | int) or isinstance(session, bool) or not str(session).strip():
        raise ValueError(f"turn {turn} of no session: {names['session_id'][0]} is {str(session)[:80]!r}")
    return clean_caption(str(session)[:MAX_SESSION_CHARS]), turn


def wordings_in(row: Mapping[str, Any], names: Names) -> list[str]:
    """Wordings of the instruction, each once, the one that `texts_in` takes first, up to the limits on a text."""
    known = (*names["instruction"], *TEXT_NAMES["instruction"])
    found: dict[str, None] = {}
    num_chars = 0
    for text in (text for name in known for text in _texts_of(row.get(name))):
        num_chars += len(text)
        if found and (num_chars > MAX_TEXT_BYTES or len(found) == MAX_WORDINGS):
            break
        found[text] = None
    return list(found)


def _first_text(row: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names for text in _texts_of(row.get(name))), None)


def _texts_of(value: Any) -> Iterator[str]:
    """The texts of a value, itself or those of a list, each on one line; blank ones are left out."""
    for text in value if isinstance(value, list) else (value,):
        if isinstance(text, str) and text.strip():
            yield clean_caption(text[:MAX_TEXT_BYTES])


def json_object(raw: bytes) -> dict[str, Any] | None:
    """A JSON object, or None for bytes that are none."""
    try:
        value = json.loads(raw.decode("utf-8-sig", "surrogateescape"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
