"""Find the edits in a row of ImgEdit's tables: one edit, or a session's turns under `data`.

An edit has the names of its images in lists, `input_images` and `output_images`, and its instruction in `prompt`. An
entry of a session that names no image holds for all turns after it; its text goes with them as `session_prompt`.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any

from core.errors import ShardFailed
from stages.inputs.edit_rows import EditReject, InputEdit
from stages.inputs.edit_texts import MAX_TURNS, names_with
from stages.inputs.table_columns import described

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    import pyarrow as pa

    from stages.inputs.edit_rows import NamedImages

IMAGE_LISTS = {"source_image": "input_images", "target_image": "output_images"}
"""Image of an edit -> the column that lists its names."""
TURNS, PROMPT, SESSION_PROMPT = "data", "prompt", "session_prompt"
NAMES = names_with({"instruction": PROMPT})
_PART = re.compile(r"_part\d+$")


def named_columns(schema: pa.Schema, url: str) -> list[str]:
    """The columns of edits that a table has. Raises `ShardFailed` for a table without them."""
    single = [*IMAGE_LISTS.values(), PROMPT]
    if TURNS in schema.names:
        return [name for name in (TURNS, *single) if name in schema.names]
    if not set(single) <= set(schema.names):
        raise ShardFailed(f"{url}: no columns {', '.join(single)}, and none named {TURNS}; it has {described(schema)}")
    return single


def kind_of(url: str) -> str:
    """The edit type of a table: its name without its part."""
    return _PART.sub("", posixpath.splitext(posixpath.basename(url))[0])


def edits_in(row: dict[str, Any], number: int, session: str, notes: Counter[str]) -> Iterator[InputEdit]:
    """The edits of a row, with the names of their images still in their `row`."""
    entries = row.get(TURNS)
    if entries is None:
        yield _edit(f"row {number}", {name: value for name, value in row.items() if name != TURNS})
        return
    if not isinstance(entries, list) or len(entries) > MAX_TURNS:
        edit = InputEdit(key=f"row {number}", row={})
        edit.fail(EditReject.BROKEN_METADATA, f"{TURNS} is no list of at most {MAX_TURNS} turns")
        yield edit
        return
    found = list(_turns(row, entries, number, session, notes))
    if not found:
        edit = InputEdit(key=f"row {number}", row=row)
        edit.fail(EditReject.NO_IMAGE, f"no entry of {TURNS} names an image")
        found.append(edit)
    yield from found


def _turns(
    row: dict[str, Any], entries: list[Any], number: int, session: str, notes: Counter[str]
) -> Iterator[InputEdit]:
    """The turns of a session: its entries from the first that names an image."""
    common = {name: value for name, value in row.items() if name not in (TURNS, PROMPT, *IMAGE_LISTS.values())}
    turn = 0
    for entry in entries:
        if isinstance(entry, dict) and turn == 0 and not any(entry.get(name) for name in IMAGE_LISTS.values()):
            notes["entries of sessions that name no image, read as words on all turns after them"] += 1
            common[SESSION_PROMPT] = entry.get(PROMPT)
            continue
        turn += 1
        edit = _edit(f"row {number}, turn {turn}", {**common, **entry} if isinstance(entry, dict) else None)
        edit.session = (session, turn)
        yield edit


def _edit(key: str, row: dict[str, Any] | None) -> InputEdit:
    edit = InputEdit(key=key, row=row)
    for role, column in IMAGE_LISTS.items():
        names = (row or {}).get(column)
        if isinstance(names, list) and len(names) > 1:
            edit.fail(EditReject.SEVERAL_IMAGES, f"{role}: {len(names)} in {column}")
        elif names is not None and not isinstance(names, list):
            edit.fail(EditReject.BROKEN_METADATA, f"{column} is no list")
    return edit


def names_of(edit: InputEdit) -> dict[str, Any]:
    """Image of an edit -> its name, of those that have one."""
    lists = {role: (edit.row or {}).get(column) for role, column in IMAGE_LISTS.items()}
    return {role: names[0] for role, names in lists.items() if isinstance(names, list) and names}


def take_images(edit: InputEdit, images: NamedImages, max_bytes: int) -> None:
    """Give an edit without a problem its images."""
    for role, name in names_of(edit).items() if edit.problem is None else ():
        edit.add_image(role, name, images, max_bytes)
