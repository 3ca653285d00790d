"""Turn an edit of a published dataset, images and texts, into a row, or a reject with its reason."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from samples.columns import ID_HEX_DIGITS, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID
from stages.inputs.edit_texts import NOTHING, SESSION_NAMES, TEXT_COLUMNS, Names, session_in, texts_in, wordings_in
from stages.inputs.image_values import ImageValue, TooLarge
from stages.inputs.rows import SOURCE_COLUMNS, InputSample, json_text, licence_text, printable, to_row

if TYPE_CHECKING:
    from collections.abc import Mapping

TRIPLE_COLUMNS = (*SOURCE_COLUMNS, "target_raw", "mask_raw", *TEXT_COLUMNS, "instructions", *SESSION_NAMES)
TEXT_ROW_COLUMNS = ("source_key", "source_url", "source_metadata", "source_licence", "caption", *TEXT_COLUMNS)
MAX_KEY_CHARS = 512
EDIT_DIGITS = 8
"""Hex digits of an edit in the id of its row: several edits may have one source image."""


class EditReject(StrEnum):
    """Why an edit of the input is not a row. Of an image, the detail says which."""

    NO_IMAGE = "no_image"  # there is no source image
    NO_TARGET = "no_target"  # there is no target image
    SEVERAL_IMAGES = "several_images"  # more than one source image, or more than one target image
    EMPTY_IMAGE = "empty_image"  # an image has no bytes
    OVERSIZE_IMAGE = "oversize_image"  # more bytes than max_image_bytes
    UNREADABLE_IMAGE = "unreadable_image"  # listed, and cannot be read
    UNSAFE_PATH = "unsafe_path"  # an image's name points out of the folder
    BROKEN_METADATA = "broken_metadata"  # the texts should come from JSON that is none
    BAD_TURN = "bad_turn"  # the turn is no number from 1 on, or of no session
    MISSING_INSTRUCTION = "missing_instruction"  # no text under any name of an instruction
    MISSING_CAPTION = "missing_caption"  # no text under any name of a source caption
    MISSING_TARGET_CAPTION = "missing_target_caption"  # no text under any name of a target caption


MISSING = {
    "instruction": EditReject.MISSING_INSTRUCTION,
    "source_caption": EditReject.MISSING_CAPTION,
    "target_caption": EditReject.MISSING_TARGET_CAPTION,
}


class NamedImages(Protocol):
    """Images that have names: the files of a folder, or the members of a tar."""

    def load(self, sample: InputSample, name: str, max_bytes: int) -> None:
        """Give the sample its image, or the reason why it has none."""
        ...


@dataclass(kw_only=True)
class InputEdit:
    """One edit as found: its texts under the input's own names, its images, or the reason why it has none."""

    key: str
    row: Mapping[str, Any] | None
    """The input's own texts and numbers, None where they should be JSON and are none."""
    session: tuple[str, int] | None = None
    """Session and turn, where the place of the edit in the input says them, and not `row`."""
    source_url: str | None = None
    """Where the input says that the source image came from, if not under `url` in `row`."""
    images: dict[str, bytes] = field(default_factory=dict)
    """Bytes of source_image, target_image and mask_image, as far as there are any."""
    problem: StrEnum | None = None
    """An EditReject, or of an image that was downloaded the end of its URL."""
    detail: str = ""

    def add_image(self, role: str, value: ImageValue, images: NamedImages, max_bytes: int) -> None:
        """Take the image from a value of a table. A name is that of one of `images`. The first problem counts."""
        if isinstance(value, TooLarge):
            self.fail(EditReject.OVERSIZE_IMAGE, f"{role}: {value.num_bytes} bytes")
        elif isinstance(value, bytes):
            self._keep(role, value)
        elif isinstance(value, str):
            if value not in ("", NOTHING):
                self.add_file(role, value, images, max_bytes)
        elif value is not None:
            self.fail(EditReject.UNREADABLE_IMAGE, f"{role}: neither bytes nor a file's name")

    def add_file(self, role: str, name: str, images: NamedImages, max_bytes: int) -> None:
        """Take the image of this name."""
        file = InputSample(key=name)
        images.load(file, name, max_bytes)
        self.take(role, file)

    def take(self, role: str, file: InputSample) -> None:
        """Take an image that was read, or the reason why there is none."""
        if file.problem is not None:
            self.fail(file.problem, f"{role}: {file.detail}")
        elif file.image is not None:
            self._keep(role, file.image)

    def _keep(self, role: str, image: bytes) -> None:
        if image:
            self.images[role] = image
        else:
            self.fail(EditReject.EMPTY_IMAGE, role)

    def fail(self, problem: StrEnum, detail: str) -> None:
        """Note why the edit is no row. The first reason counts."""
        if self.problem is None:
            self.problem, self.detail = problem, detail


@dataclass(frozen=True, kw_only=True, slots=True)
class Needed:
    """Texts and images without which an edit is rejected."""

    captions: bool
    target: bool


def triple_row(edit: InputEdit, shard: str, names: Names, needed: Needed) -> dict[str, Any]:
    """The row of an edit with images. Its id is that of the source image and of what is done to it."""
    texts = texts_in(edit.row or {}, names)
    caption = texts["source_caption"]
    sample = InputSample(
        key=edit.key[:MAX_KEY_CHARS], image=edit.images.get("source_image"), metadata=dict(edit.row or {}),
        text=None if caption is None else caption.encode(), may_have_caption=False,
    )  # fmt: skip
    row = {**to_row(sample, shard, require_caption=False), **texts}
    row["target_raw"], row["mask_raw"] = edit.images.get("target_image"), edit.images.get("mask_image")
    if sample.image:
        row[SAMPLE_ID] = f"{row[SAMPLE_ID]}-t{_edit_digest(texts, row['target_raw'])[:EDIT_DIGITS]}"
    row["instructions"] = wordings_in(edit.row or {}, names)
    row["source_url"] = printable(edit.source_url) if edit.source_url else row["source_url"]
    row[REJECT_REASON], row[REJECT_DETAIL] = _problem(edit, texts, needed, has_images=True)
    try:
        row["session_id"], row["turn"] = edit.session or session_in(edit.row or {}, names)
    except ValueError as error:
        if row[REJECT_REASON] is None:
            row[REJECT_REASON], row[REJECT_DETAIL] = EditReject.BAD_TURN.value, printable(str(error))
    return row


def text_row(edit: InputEdit, shard: str, names: Names) -> dict[str, Any]:
    """The row of an edit without images. Its id is that of its texts, or of its place where it has none."""
    texts = texts_in(edit.row or {}, names)
    metadata = dict(edit.row or {})
    reason, detail = _problem(edit, texts, Needed(captions=True, target=False), has_images=False)
    named = hashlib.sha256(f"{shard}/{edit.key}".encode("utf-8", "surrogatepass")).hexdigest()
    own = _edit_digest(texts, None)[:ID_HEX_DIGITS] if reason is None else f"x{named[: ID_HEX_DIGITS - 1]}"
    url = metadata.get("url")
    return {
        SAMPLE_ID: own, "source_key": printable(edit.key[:MAX_KEY_CHARS]),
        "source_url": printable(url) if isinstance(url, str) else None,
        "source_metadata": json_text(metadata) if metadata else None, "source_licence": licence_text(metadata),
        "caption": texts["source_caption"], **texts,
        REJECT_REASON: reason, REJECT_DETAIL: detail,
    }  # fmt: skip


def _edit_digest(texts: Mapping[str, str | None], target: bytes | None) -> str:
    """Hex digits that differ for edits with other captions, another instruction or another target."""
    parts = [texts["source_caption"], texts["instruction"], texts["target_caption"]]
    parts.append(None if target is None else hashlib.sha256(target).hexdigest())
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _problem(
    edit: InputEdit, texts: Mapping[str, str | None], needed: Needed, *, has_images: bool
) -> tuple[str | None, str | None]:
    """(reject reason, detail), or Nones for an edit that serves."""
    reason, detail = edit.problem, edit.detail
    if reason is None and edit.row is None:
        reason, detail = EditReject.BROKEN_METADATA, "not a JSON object, or too long"
    if reason is None and has_images:
        lacks = "source_image" not in edit.images, needed.target and "target_image" not in edit.images
        reason = EditReject.NO_IMAGE if lacks[0] else EditReject.NO_TARGET if lacks[1] else None
    if reason is None:
        asked = MISSING if needed.captions else {"instruction": EditReject.MISSING_INSTRUCTION}
        reason = next((lacking for column, lacking in asked.items() if texts[column] is None), None)
        detail = f"has {', '.join(sorted(edit.row or {}))[:200]}" if reason else ""
    return (None, None) if reason is None else (reason.value, printable(detail))
