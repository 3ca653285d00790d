"""Turn a sample of an input into a row of the source columns, or a reject with its reason."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import unicodedata
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from samples.columns import ID_HEX_DIGITS, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, column
from stages.inputs.sample_licence import licence_in
from stages.inputs.table_columns import CAPTION_NAMES, plain_name

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Sequence

SOURCE_COLUMNS = (
    "source_raw", "source_sha256", "source_key", "source_size_bytes", "source_url", "source_metadata",
    "source_licence", "caption",
)  # fmt: skip

TABLE_BYTES = 8 << 20
"""Images, captions and metadata of one table together, about: its last row may go beyond it."""
TABLE_ROWS = 1024
MAX_TEXT_BYTES = 1 << 20
"""Longest text of a member of a tar, in bytes, and longest caption, in characters; what is longer is cut."""
MAX_METADATA_CHARS = 1 << 20
"""Longest metadata of a row, as JSON; a row that has more is kept without."""
LINE_ENDS = re.compile("[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")


class InputReject(StrEnum):
    """Why a sample of the input is not a row."""

    NO_IMAGE = "no_image"  # no member with the suffix of an image
    EMPTY_IMAGE = "empty_image"  # the image has no bytes
    OVERSIZE_IMAGE = "oversize_image"  # more bytes than max_image_bytes
    UNREADABLE_IMAGE = "unreadable_image"  # listed, and cannot be read or fetched
    MISSING_CAPTION = "missing_caption"  # no caption in text or metadata
    EMPTY_CAPTION = "empty_caption"  # the caption is blank
    CAPTION_NOT_UTF8 = "caption_not_utf8"  # the caption's bytes are not UTF-8
    BROKEN_METADATA = "broken_metadata"  # the caption should come from JSON that is none
    DUPLICATE_KEY = "duplicate_key"  # the shard has a sample of that key already
    TRUNCATED_SHARD = "truncated_shard"  # the archive ends within this sample
    UNSAFE_PATH = "unsafe_path"  # the captions file points out of its folder


@dataclass(kw_only=True)
class InputSample:
    """One sample as found: raw bytes, or the reason why there are none."""

    key: str
    image: bytes | None = None
    text: bytes | None = None
    metadata: bytes | dict[str, Any] | None = None
    may_have_caption: bool = True
    """The caption may be in the metadata where `text` is None."""
    problem: InputReject | None = None
    detail: str = ""
    notes: list[str] = field(default_factory=list)


def sample_id_of(image: bytes) -> tuple[str, str]:
    """(sample_id, sha256) of the source bytes."""
    sha = hashlib.sha256(image).hexdigest()
    return sha[:ID_HEX_DIGITS], sha


def to_row(sample: InputSample, shard: str, *, require_caption: bool) -> dict[str, Any]:
    """The sample's row, `reject_reason` set where it cannot be used. A row without image is named by shard and key."""
    row: dict[str, Any] = dict.fromkeys((SAMPLE_ID, *SOURCE_COLUMNS, REJECT_REASON, REJECT_DETAIL))
    row["source_key"] = printable(sample.key)
    caption, reason, detail = _caption(sample, row)
    row["caption"] = caption
    if sample.image:
        row[SAMPLE_ID], row["source_sha256"] = sample_id_of(sample.image)
        row["source_raw"], row["source_size_bytes"] = sample.image, len(sample.image)
    else:
        named = hashlib.sha256(f"{shard}/{sample.key}".encode("utf-8", "surrogatepass")).hexdigest()
        row[SAMPLE_ID] = f"x{named[: ID_HEX_DIGITS - 1]}"
    if sample.problem is not None:
        row[REJECT_REASON], row[REJECT_DETAIL] = sample.problem.value, printable(sample.detail)
    elif not sample.image:
        empty = sample.image is not None
        row[REJECT_REASON] = (InputReject.EMPTY_IMAGE if empty else InputReject.NO_IMAGE).value
        row[REJECT_DETAIL] = printable(sample.detail)
    elif reason is not None and require_caption:
        row[REJECT_REASON], row[REJECT_DETAIL] = reason.value, printable(detail or sample.detail)
    return row


def _caption(sample: InputSample, row: dict[str, Any]) -> tuple[str | None, InputReject | None, str]:
    metadata, broken = _metadata(sample)
    row["source_metadata"] = json_text(metadata) if metadata else None
    if metadata and row["source_metadata"] is None:
        sample.notes.append("metadata too long, left out")
    url = metadata.get("url") if metadata else None
    row["source_url"] = printable(url) if isinstance(url, str) else None
    row["source_licence"] = licence_text(metadata)
    if sample.text is not None:
        try:
            caption = sample.text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return None, InputReject.CAPTION_NOT_UTF8, f"byte {error.start} of {len(sample.text)}"
    else:
        found, detail = _caption_in(metadata, sample.notes) if metadata and sample.may_have_caption else (None, "")
        if found is None:
            return None, InputReject.BROKEN_METADATA if broken else InputReject.MISSING_CAPTION, detail
        caption = found
    if not caption.strip():
        return None, InputReject.EMPTY_CAPTION, ""
    if LINE_ENDS.search(caption.strip()):
        sample.notes.append("captions of several lines, joined to one")
    if len(caption) > MAX_TEXT_BYTES:
        sample.notes.append(f"captions cut after {MAX_TEXT_BYTES} characters")
    return clean_caption(caption), None, ""


def _caption_in(metadata: dict[str, Any], notes: list[str]) -> tuple[str | None, str]:
    """(the caption that metadata holds, or None, why there is none): under `caption`, or else under a usual name.

    Several usual names are accepted where all hold the same text; otherwise the caption is unknown.
    """
    if "caption" in metadata:
        return first_caption(metadata["caption"], notes), ""
    usual = {name: first_caption(metadata[name], notes) for name in metadata if plain_name(name) in CAPTION_NAMES}
    found = {name: text for name, text in usual.items() if text and text.strip()}
    if len(set(found.values())) > 1:
        one, another = list(found)[:2]
        return None, f"{one[:80]!r} and {another[:80]!r} of the metadata may each be the caption"
    for name, text in found.items():
        notes.append(f"{plain_name(name)!r} of the metadata read as the caption")
        return text, ""
    return None, ""


def first_caption(value: Any, notes: list[str]) -> str | None:
    """The caption in a value: the text itself, or the first text of a list that is not blank."""
    if isinstance(value, list):
        notes.append("lists of captions: the first of each is taken")
        value = next((text for text in value if isinstance(text, str) and text.strip()), None)
    return value if isinstance(value, str) else None


def clean_caption(text: str) -> str:
    """A caption on one line, without blanks around it, its accents composed (NFC), as UTF-8 can hold it."""
    lines = (line.strip(" \t") for line in LINE_ENDS.split(text[:MAX_TEXT_BYTES]))
    return unicodedata.normalize("NFC", printable(" ".join(line for line in lines if line)))


def _metadata(sample: InputSample) -> tuple[dict[str, Any] | None, bool]:
    """(the metadata, True when it is no JSON object)."""
    raw = sample.metadata
    if raw is None or isinstance(raw, dict):
        return raw, False
    try:
        value = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value, False
    sample.notes.append("metadata that is not a JSON object")
    return None, True


def json_text(metadata: dict[str, Any], limit: int = MAX_METADATA_CHARS) -> str | None:
    """Metadata as JSON, keys in order, or None for what is longer than `limit` or nested too deeply."""
    try:
        text = json.dumps(_Plain(limit).of(metadata), sort_keys=True, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= limit else None


class _Plain:
    """Values in JSON's types: numbers that it does not have become null, what it cannot hold becomes text."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        """Characters that may still come: what does not fit is not copied first."""

    def of(self, value: Any) -> Any:
        """The value. Raises `ValueError` when all together is too long."""
        self._left -= len(value) if isinstance(value, str) else 1
        if self._left < 0:
            raise ValueError("too long")
        if isinstance(value, str):
            return printable(value)
        if isinstance(value, dict):
            return {self.of(str(key)): self.of(held) for key, held in value.items()}
        if isinstance(value, list | tuple):
            return [self.of(held) for held in value]
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        return value if value is None or isinstance(value, int) else str(value)


def licence_text(metadata: dict[str, Any] | None) -> str | None:
    """The licence that metadata state, as a row has it."""
    found = licence_in(metadata) if metadata else None
    return None if found is None else printable(found)


def printable(text: str) -> str:
    """Text that UTF-8 can hold: bytes that were smuggled in as surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()


def weight(row: dict[str, Any]) -> int:
    """Bytes that the pixels and texts of a row take, about."""
    lists = [value for value in row.values() if isinstance(value, list)]
    texts = (value for value in itertools.chain(row.values(), *lists) if isinstance(value, str))
    pixels = sum(len(value) for value in row.values() if isinstance(value, bytes))
    return pixels + sum(len(text) if text.isascii() else 4 * len(text) for text in texts)


def to_table(rows: list[dict[str, Any]], columns: Sequence[str] = SOURCE_COLUMNS) -> pa.Table:
    """Rows as a table of `sample_id`, these columns and the reject columns."""
    names = [SAMPLE_ID, *columns]
    schema = pa.schema(
        [*((n, column(n).type) for n in names), (REJECT_REASON, pa.string()), (REJECT_DETAIL, pa.string())]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def tables_of(
    samples: Iterable[InputSample], shard: str, notes: Counter[str], *, require_caption: bool
) -> Iterator[pa.Table]:
    """Rows of the samples in small tables."""

    def rows() -> Iterator[dict[str, Any]]:
        for sample in samples:
            row = to_row(sample, shard, require_caption=require_caption)
            notes.update(sample.notes)
            yield row

    return in_tables(rows(), SOURCE_COLUMNS)


def in_tables(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows in tables that stay small, however large images and texts are."""
    held: list[dict[str, Any]] = []
    num_bytes = 0
    for row in rows:
        held.append(row)
        num_bytes += weight(row)
        if num_bytes >= TABLE_BYTES or len(held) >= TABLE_ROWS:
            yield to_table(held, columns)
            held, num_bytes = [], 0
    if held:
        yield to_table(held, columns)
