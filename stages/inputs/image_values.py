"""Read images that are values of an Arrow column: bytes, file names, or Hugging Face's pairs of both.

A damaged file may hold indices that point nowhere and images without end: no value raises, and none is copied before
its size is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_NAME_BYTES = 4096


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Stands for an image of more bytes than are read."""

    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """The columns of a table that hold images, and the most bytes of one that is read."""

    names: frozenset[str] = frozenset()
    max_bytes: int = 0


NO_IMAGES = Images()

ImageValue = bytes | str | TooLarge | None
"""The image's bytes, the name of its file, or what there is in their place."""


def image_reader(array: pa.Array, max_bytes: int) -> Callable[[int], ImageValue]:
    """A function from row to image. Of a pair `{bytes, path}` the bytes count, and the path where there are none."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return image_reader(array.storage, max_bytes)
    if pa.types.is_struct(kind):
        return _pairs(array, max_bytes)
    if pa.types.is_dictionary(kind):
        return _shared(array, max_bytes)
    if not is_binary(kind) and not is_text(kind):
        return lambda _row: None
    as_text = is_text(kind)

    def read(row: int) -> ImageValue:
        scalar = array[row]
        if not scalar.is_valid:
            return None
        buffer = scalar.as_buffer()
        if as_text:
            return None if buffer.size > MAX_NAME_BYTES else buffer.to_pybytes().decode("utf-8", "replace")
        return TooLarge(buffer.size) if buffer.size > max_bytes else buffer.to_pybytes()

    return read


def holds_images(kind: pa.DataType) -> bool:
    """True for a type that `image_reader` reads: bytes, text, dictionaries of them, structs with such a field."""
    if isinstance(kind, pa.BaseExtensionType):
        return holds_images(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return holds_images(kind.value_type)
    if pa.types.is_struct(kind):
        return any(kind.field(n).name in ("bytes", "path") for n in range(kind.num_fields))
    return is_binary(kind) or is_text(kind)


def is_text(kind: pa.DataType) -> bool:
    """True for text, of which an image column holds file names."""
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def is_binary(kind: pa.DataType) -> bool:
    """True for bytes."""
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _pairs(array: pa.Array, max_bytes: int) -> Callable[[int], ImageValue]:
    names = [array.type.field(n).name for n in range(array.type.num_fields)]
    parts = [image_reader(array.field(names.index(n)), max_bytes) for n in ("bytes", "path") if n in names]
    is_valid = array.is_valid().to_pylist()

    def read(row: int) -> ImageValue:
        found = (part(row) for part in parts) if is_valid[row] else iter(())
        return next((value for value in found if value is not None), None)

    return read


def _shared(array: pa.Array, max_bytes: int) -> Callable[[int], ImageValue]:
    value_at, indices, size = (
        image_reader(array.dictionary, max_bytes),
        array.indices.to_pylist(),
        len(array.dictionary),
    )

    def read(row: int) -> ImageValue:
        index = indices[row]
        return value_at(index) if index is not None and 0 <= index < size else None

    return read
