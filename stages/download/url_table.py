"""Tables of URLs in Parquet: their columns checked, their rows judged one by one before any download."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any

from core.errors import PlanError, ShardFailed
from stages.download.status import LaionReject, UrlStatus, without_credentials
from stages.inputs.parquet_rows import TableReader
from stages.inputs.rows import json_text
from stages.inputs.table_columns import described, holds_numbers, holds_text, listed, say_type

if TYPE_CHECKING:
    from collections import Counter

    import pyarrow as pa

    from stages.download.settings import UrlTableSettings

MAX_CAPTION_CHARS, MAX_METADATA_CHARS = 1 << 17, 1 << 16
"""Longest caption and longest metadata of a row: a shard's are held together while it is downloaded."""


def count_rows(url: str, options: UrlTableSettings) -> int:
    """Rows of a Parquet file, by its footer. Raises `PlanError` when a column cannot serve as the settings need it."""
    try:
        with contextlib.closing(TableReader(url, lambda schema: named_columns(schema, options, url))) as table:
            return table.num_rows
    except ShardFailed as error:
        raise PlanError(str(error)) from None


def named_columns(schema: pa.Schema, options: UrlTableSettings, url: str) -> list[str]:
    """The columns that the settings name and the table has. Raises `ShardFailed` for one that cannot serve."""
    shape = options.max_aspect_ratio is not None
    settings = {
        "url_column": (options.url_column, True, holds_text),
        "caption_column": (options.caption_column, options.require_caption, holds_text),
        "similarity_column": (options.similarity_column, options.min_similarity is not None, holds_numbers),
        "punsafe_column": (options.punsafe_column, options.max_punsafe is not None, holds_numbers),
        "pwatermark_column": (options.pwatermark_column, options.max_pwatermark is not None, holds_numbers),
        "width_column": (options.width_column, options.min_width_px is not None or shape, holds_numbers),
        "height_column": (options.height_column, options.min_height_px is not None or shape, holds_numbers),
    }
    needed = [(setting, name, can_serve) for setting, (name, is_needed, can_serve) in settings.items() if is_needed]
    lacking = [f"{setting} = {name!r}" for setting, name, _ in needed if name not in schema.names]
    if lacking:
        raise ShardFailed(f"{url}: no column for {', '.join(lacking)}; it has {listed(schema.names)}")
    for setting, name, can_serve in needed:
        kind = schema.field(name).type
        if not can_serve(kind):
            what = "text" if can_serve is holds_text else "numbers"
            raise ShardFailed(f"{url}: column {name!r} ({setting}) has type {say_type(kind)}, which holds no {what}; "
                              f"it has {described(schema)}")  # fmt: skip
    return [name for name in (options.url_column, options.caption_column) if name in schema.names]


def to_status(number: int, row: dict[str, Any], options: UrlTableSettings, notes: Counter[str]) -> UrlStatus:
    """The row as one URL to download, or with its end where the table already decides it."""
    url, caption = row.pop(options.url_column, None), row.pop(options.caption_column, None)
    caption = caption if isinstance(caption, str) else None
    if caption is not None and len(caption) > MAX_CAPTION_CHARS:
        caption = caption[:MAX_CAPTION_CHARS]
        notes[f"captions cut after {MAX_CAPTION_CHARS} characters"] += 1
    metadata = json_text(row, MAX_METADATA_CHARS)
    if metadata is None:
        notes[f"metadata of more than {MAX_METADATA_CHARS} characters, left out"] += 1
    made = UrlStatus(
        key=f"{number:09d}",
        url=without_credentials(url) if isinstance(url, str) else "",
        caption=caption,
        metadata=metadata or "{}",
    )
    reason, made.error = _judged(row, caption, options) or (None, "")
    made.status = reason.value if reason else ""
    return made


def _judged(row: dict[str, Any], caption: str | None, options: UrlTableSettings) -> tuple[LaionReject, str] | None:
    """Why the row is not downloaded, or None when it is."""
    if options.require_caption and caption is None:
        return LaionReject.MISSING_CAPTION, ""
    if options.require_caption and caption is not None and not caption.strip():
        return LaionReject.EMPTY_CAPTION, ""
    return _out_of_range(row, options) or _out_of_shape(row, options)


def _out_of_range(row: dict[str, Any], options: UrlTableSettings) -> tuple[LaionReject, str] | None:
    for reason, column, least, most in (
        (LaionReject.FILTERED_SIMILARITY, options.similarity_column, options.min_similarity, None),
        (LaionReject.FILTERED_PUNSAFE, options.punsafe_column, None, options.max_punsafe),
        (LaionReject.FILTERED_PWATERMARK, options.pwatermark_column, None, options.max_pwatermark),
        (LaionReject.FILTERED_SIZE, options.width_column, options.min_width_px, None),
        (LaionReject.FILTERED_SIZE, options.height_column, options.min_height_px, None),
    ):
        if least is None and most is None:
            continue
        value = _number(row.get(column))
        if value is None:
            return reason, f"no number in column {column!r}"
        if least is not None and value < least:
            return reason, f"{column} {value:g}, less than {least:g}"
        if most is not None and value > most:
            return reason, f"{column} {value:g}, more than {most:g}"
    return None


def _out_of_shape(row: dict[str, Any], options: UrlTableSettings) -> tuple[LaionReject, str] | None:
    if options.max_aspect_ratio is None:
        return None
    sides = [_number(row.get(column)) or 0.0 for column in (options.width_column, options.height_column)]
    if min(sides) <= 0:
        return LaionReject.FILTERED_ASPECT_RATIO, "no size"
    if max(sides) / min(sides) > options.max_aspect_ratio:
        text = f"{sides[0]:g} x {sides[1]:g} px, more than {options.max_aspect_ratio:g} to 1"
        return LaionReject.FILTERED_ASPECT_RATIO, text
    return None


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
