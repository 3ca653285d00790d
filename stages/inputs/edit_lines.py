"""Find the edits in a line of Pico-Banana-400K's files, and where their images are: beside the lines, or on the web.

A line has one edit (`open_image_input_url`, `text`, `summarized_text`, `output_image`), one with images that its judge
rejected (`rejected_images`, which stay in the metadata), or a session: `files` with the images of its turns by id, and
`metadata_edit_turn_prompts`. `local_input_image` names the file of the source image; the set's own script adds it.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from stages.download.status import without_credentials
from stages.inputs.edit_rows import EditReject, InputEdit
from stages.inputs.edit_texts import MAX_TURNS, names_with
from stages.inputs.folder_images import ImageFolder
from stages.inputs.rows import InputReject, InputSample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAMES = names_with({}) | {"instruction": ("text", "summarized_text")}
SOURCE_URL, SOURCE_FILE, TARGET = "open_image_input_url", "local_input_image", "output_image"
FILES, PROMPTS, TURN_TEXT = "files", "metadata_edit_turn_prompts", "text"
ORIGINAL, FINAL = "original_input_image", "final_image"
_TURN_ID = re.compile(r"edit_turn\d{1,9}|final_image")
_URL = re.compile(r"\s*https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is: the name of a file beside the lines, or a URL."""

    place: str
    is_url: bool


@dataclass(kw_only=True, slots=True)
class LineEdit:
    """One edit of a line, and where its source_image and target_image are, as far as the line says it."""

    edit: InputEdit
    images: dict[str, Reference] = field(default_factory=dict)


def edits_of_line(row: dict[str, Any] | None, number: int, session: str, base_url: str | None) -> list[LineEdit]:
    """The edits of a line, None for one that is no JSON object. With `base_url` files without a local name are URLs."""
    key = f"line {number}"
    if row is None:
        return [LineEdit(edit=InputEdit(key=key, row=None))]
    row = _without_secrets(row)
    if FILES in row:
        return _turns(row, key, session, base_url)
    edit = InputEdit(key=key, row=row, source_url=_text(row.get(SOURCE_URL)))
    return [_placed(edit, _source(row, row.get(SOURCE_URL), base_url), _target(row.get(TARGET), base_url))]


def _without_secrets(row: dict[str, Any]) -> dict[str, Any]:
    """The line without user and password in its addresses: all of it is kept as metadata."""
    cleaned = {name: _cleaned(row[name]) for name in (SOURCE_URL, SOURCE_FILE, TARGET) if name in row}
    files = row.get(FILES)
    if isinstance(files, list):
        cleaned[FILES] = [
            {**file, "url": _cleaned(file["url"])} if isinstance(file, dict) and "url" in file else file
            for file in files
        ]
    return {**row, **cleaned}


def _cleaned(value: Any) -> Any:
    return without_credentials(value) if isinstance(value, str) and _URL.match(value) else value


def _turns(row: dict[str, Any], key: str, session: str, base_url: str | None) -> list[LineEdit]:
    """The turns of a session: the source of each is the target of the one before."""
    files, prompts = row[FILES], row.get(PROMPTS)
    if not isinstance(files, list) or not isinstance(prompts, list):
        return [_broken(row, key, f"{FILES} or {PROMPTS} is no list")]
    places: dict[str, Any] = {}
    for file in files:
        if isinstance(file, dict) and isinstance(file.get("id"), str):
            places.setdefault(file["id"], file.get("url"))
    num_turns = max(len(prompts), sum(_TURN_ID.fullmatch(name) is not None for name in places))
    if num_turns > MAX_TURNS:  # each has a copy of the line's metadata
        return [_broken(row, key, f"{num_turns} turns, more than {MAX_TURNS}")]
    if not num_turns:
        return [_broken(row, key, f"{FILES} and {PROMPTS} have no turn")]
    common = {name: value for name, value in row.items() if name not in NAMES["instruction"]}
    found: list[LineEdit] = []
    before, source_url = _source(row, places.get(ORIGINAL), base_url), _text(places.get(ORIGINAL))
    for turn in range(1, num_turns + 1):
        place = places.get(f"edit_turn{turn}") or (places.get(FINAL) if turn == num_turns else None)
        text = {TURN_TEXT: prompts[turn - 1]} if turn <= len(prompts) else {}
        edit = InputEdit(
            key=f"{key}, turn {turn}", row={**common, **text}, session=(session, turn), source_url=source_url
        )
        after = _target(place, base_url)
        found.append(_placed(edit, before, after))
        before, source_url = after, None
    return found


def _broken(row: dict[str, Any], key: str, detail: str) -> LineEdit:
    edit = InputEdit(key=key, row=row)
    edit.fail(EditReject.BROKEN_METADATA, detail)
    return LineEdit(edit=edit)


def _placed(edit: InputEdit, source: Reference | None, target: Reference | None) -> LineEdit:
    images = {"source_image": source, "target_image": target}
    return LineEdit(edit=edit, images={role: one for role, one in images.items() if one is not None})


def _source(row: Mapping[str, Any], url: Any, base_url: str | None) -> Reference | None:
    name = _text(row.get(SOURCE_FILE))
    if name is not None:
        return Reference(name, is_url=False)
    return None if base_url is None or _text(url) is None else Reference(url, is_url=True)


def _target(name: Any, base_url: str | None) -> Reference | None:
    text = _text(name)
    if text is None:
        return None
    if base_url is None:
        return Reference(text, is_url=False)
    return Reference(text if _URL.match(text) else f"{base_url.rstrip('/')}/{text.lstrip('/')}", is_url=True)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


class LineImages:
    """Images beside the lines, by names from where the set's script ran: the lines' folder, or the one above it."""

    def __init__(self, url: str) -> None:
        self._folder = ImageFolder(url)
        self._own = f"{posixpath.basename(posixpath.dirname(url))}/"

    @cached_property
    def stamp_of(self) -> Callable[[Any], tuple[int, str]]:
        """A function from a name to (bytes, text that changes with the file), or (0, "") for none."""
        return self._folder.stamps()

    def load(self, sample: InputSample, name: str, max_bytes: int) -> None:
        """Give the sample its image, or the reason why it has none."""
        self._folder.load(sample, self.found(name), max_bytes)

    def found(self, name: str) -> str:
        """The name below the lines' folder: without the name of that folder, where only so there is a file."""
        shorter = name[len(self._own) :] if len(self._own) > 1 and name.startswith(self._own) else name
        return shorter if shorter != name and not self.stamp_of(name)[1] and self.stamp_of(shorter)[1] else name


def absent_source(edit: InputEdit) -> None:
    """Say what an edit lacks whose line does not say where its source image is."""
    if edit.session is not None and edit.session[1] > 1:
        edit.fail(EditReject.NO_IMAGE, f"the line has no image of turn {edit.session[1] - 1}")
    else:
        edit.fail(EditReject.NO_IMAGE, f"no {SOURCE_FILE}: add it with the set's script, or set base_url to download")


def take_images(line: LineEdit, downloaded: Mapping[str, InputSample], folder: LineImages, max_bytes: int) -> InputEdit:
    """The edit with its images: those of URLs from `downloaded`, by URL, others from files."""
    edit = line.edit
    if edit.row is not None and edit.problem is None and "source_image" not in line.images:
        absent_source(edit)
    for role, reference in line.images.items() if edit.problem is None else ():
        if reference.is_url:
            edit.take(role, downloaded.get(reference.place) or _not_downloaded(reference))
        else:
            edit.add_file(role, reference.place, folder, max_bytes)
    return edit


def _not_downloaded(reference: Reference) -> InputSample:
    return InputSample(key=reference.place, problem=InputReject.UNREADABLE_IMAGE, detail="not downloaded")
