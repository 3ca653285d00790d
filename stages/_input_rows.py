"""From what an input holds for one sample to a row of the source columns, or a reject with its reason."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.schema import ID_HEX_DIGITS, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, column

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator

SOURCE_COLUMNS = (
    "source_raw", "source_sha256", "source_key", "source_size_bytes", "source_url", "source_metadata", "caption",
)  # fmt: skip

BATCH_BYTES = 8 << 20
BATCH_ROWS = 1024


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
    row["source_key"] = _printable(sample.key)
    caption, reason, detail = _caption(sample, row)
    row["caption"] = caption
    if sample.image:
        row[SAMPLE_ID], row["source_sha256"] = sample_id_of(sample.image)
        row["source_raw"], row["source_size_bytes"] = sample.image, len(sample.image)
    else:
        named = hashlib.sha256(f"{shard}/{sample.key}".encode("utf-8", "surrogatepass")).hexdigest()
        row[SAMPLE_ID] = f"x{named[: ID_HEX_DIGITS - 1]}"
    if sample.problem is not None:
        row[REJECT_REASON], row[REJECT_DETAIL] = sample.problem.value, _printable(sample.detail)
    elif not sample.image:
        empty = sample.image is not None
        row[REJECT_REASON] = (InputReject.EMPTY_IMAGE if empty else InputReject.NO_IMAGE).value
        row[REJECT_DETAIL] = _printable(sample.detail)
    elif reason is not None and require_caption:
        row[REJECT_REASON], row[REJECT_DETAIL] = reason.value, detail
    return row


def _caption(sample: InputSample, row: dict[str, Any]) -> tuple[str | None, InputReject | None, str]:
    metadata, broken = _metadata(sample.metadata)
    if broken:
        sample.notes.append("metadata that is not a JSON object")
    row["source_metadata"] = json.dumps(metadata, sort_keys=True, ensure_ascii=False) if metadata else None
    url = metadata.get("url") if metadata else None
    row["source_url"] = _printable(url) if isinstance(url, str) else None
    if sample.text is not None:
        try:
            caption = sample.text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            return None, InputReject.CAPTION_NOT_UTF8, f"byte {error.start} of {len(sample.text)}"
    elif metadata and isinstance(metadata.get("caption"), str):
        caption = metadata["caption"]
    else:
        return None, InputReject.BROKEN_METADATA if broken else InputReject.MISSING_CAPTION, ""
    if not caption.strip():
        return None, InputReject.EMPTY_CAPTION, ""
    return _printable(caption), None, ""


def _metadata(raw: bytes | dict[str, Any] | None) -> tuple[dict[str, Any] | None, bool]:
    """(the metadata as JSON and UTF-8 can hold it, True when it is no JSON object)."""
    if raw is None:
        return None, False
    try:
        value = _plain(raw if isinstance(raw, dict) else json.loads(raw.decode("utf-8-sig")))
    except (ValueError, RecursionError):
        return None, True
    return (value, False) if isinstance(value, dict) else (None, True)


def _plain(value: Any) -> Any:
    """The value in JSON's types: numbers that it does not have become null, what it cannot hold becomes text."""
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, dict):
        return {_printable(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return None  # pixels inside the captions file, most likely
    return value if value is None or isinstance(value, int) else str(value)


def _printable(text: str) -> str:
    """Text that UTF-8 can hold: bytes that were smuggled in as surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()


def to_table(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table of the source columns and the reject columns."""
    names = [SAMPLE_ID, *SOURCE_COLUMNS]
    schema = pa.schema(
        [*((n, column(n).type) for n in names), (REJECT_REASON, pa.string()), (REJECT_DETAIL, pa.string())]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def tables_of(
    samples: Iterable[InputSample], shard: str, notes: Counter[str], *, require_caption: bool
) -> Iterator[pa.Table]:
    """Rows of the samples in tables that stay small whatever the images weigh."""
    rows: list[dict[str, Any]] = []
    num_bytes = 0
    for sample in samples:
        row = to_row(sample, shard, require_caption=require_caption)
        notes.update(sample.notes)
        rows.append(row)
        num_bytes += row["source_size_bytes"] or 0
        if num_bytes >= BATCH_BYTES or len(rows) >= BATCH_ROWS:
            yield to_table(rows)
            rows, num_bytes = [], 0
    if rows:
        yield to_table(rows)
