"""Find the columns of a table of captions by the names that people write, and check their types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE_NAMES = frozenset(
    {"file_name", "filename", "file", "file_path", "filepath", "path", "image", "image_file", "image_path",
     "image_name", "image_filename", "img", "img_path", "img_name"}
)  # fmt: skip
"""Names of a column of image files, as `plain_name` has them."""
CAPTION_NAMES = frozenset(
    {"text", "caption", "captions", "prompt", "description", "alt_text", "alttext", "alt", "title", "sentence",
     "sentences"}
)  # fmt: skip
"""Names of a column of captions."""
MAX_LISTED_CHARS = 300


def plain_name(name: str) -> str:
    """A column's name in lower case, without blanks around it, its words joined by underscores."""
    return "_".join(name.strip().lower().replace("-", " ").replace("_", " ").split())


def find_column(setting: str, wanted: str, default: str, known: frozenset[str], names: Sequence[str]) -> str | None:
    """The column that is meant: the one of the name `wanted`, or the only one of a known name.

    A name that differs from the setting's default is taken at its word. None when no column is meant; raises
    `ValueError` when several may be.
    """
    if wanted in names:
        return wanted
    alike = [name for name in names if plain_name(name) == plain_name(wanted)]
    if not alike and wanted == default:
        alike = [name for name in names if plain_name(name) in known]
    if len(set(alike)) > 1:
        raise ValueError(f"columns {listed(alike)} may each be {setting} = {wanted!r}; say which")
    return alike[0] if alike else None


def listed(names: Sequence[str]) -> str:
    """Names on one line, cut where they are many."""
    text = ", ".join(" ".join(name.split()) for name in names)
    return text if len(text) <= MAX_LISTED_CHARS else f"{text[:MAX_LISTED_CHARS]}…"


def described(schema: pa.Schema) -> str:
    """A table's columns with their types, on one line."""
    return listed([f"{field.name} ({say_type(field.type)})" for field in schema])


def say_type(kind: pa.DataType) -> str:
    """A type's name in Arrow, without that of a dictionary around it."""
    return str(kind.value_type if pa.types.is_dictionary(kind) else kind)


def holds_text(kind: pa.DataType, *, or_lists: bool = False) -> bool:
    """True for text, bytes that may be text, and dictionaries (or, where asked, lists) of them."""
    if isinstance(kind, pa.BaseExtensionType):
        return holds_text(kind.storage_type, or_lists=or_lists)
    if pa.types.is_dictionary(kind):
        return holds_text(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return or_lists and holds_text(kind.value_type)
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary,
             pa.types.is_large_binary, pa.types.is_binary_view)  # fmt: skip
    return any(test(kind) for test in tests)


def holds_numbers(kind: pa.DataType) -> bool:
    """True for numbers, and for text, which may spell them."""
    if pa.types.is_dictionary(kind):
        return holds_numbers(kind.value_type)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return is_number or holds_text(kind)
