"""Edit requests from the columns of a row: an editor is given what it needs, and what it uses where the row has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.protocols import EditRequest
from samples.stored_images import made_image, mask_array

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from PIL.Image import Image

TEXTS = ("instruction", "source_caption", "target_caption")
"""Fields of a request whose columns have the same names."""
COLUMNS_OF = {
    **{name: (name,) for name in TEXTS},
    "mask": ("region_mask_png",),
    "examples": ("example_source_images", "example_target_images"),
}
"""Field of a request -> the columns that it is made of. The image itself is the caller's."""
REQUEST_COLUMNS = tuple(name for columns in COLUMNS_OF.values() for name in columns)


class LacksField(ValueError):
    """A row from which no request can be made; the message names what it lacks."""


def columns_of(fields: Collection[str]) -> tuple[str, ...]:
    """The columns that these fields of a request are made of."""
    return tuple(name for field, columns in COLUMNS_OF.items() if field in fields for name in columns)


def request_of(row: Mapping[str, Any], image: Image, needs: Collection[str], uses: Collection[str]) -> EditRequest:
    """The request of a row, a mapping that may lack columns. Raises LacksField where it lacks what the editor needs."""
    given = {field: value for field in (*needs, *uses) if (value := _value(row, field)) is not None}
    lacking = sorted(field for field in needs if field not in given and field != "image")
    if lacking:
        raise LacksField(f"the editor needs {', '.join(lacking)}")
    return EditRequest(image=image, **given)


def _value(row: Mapping[str, Any], field: str) -> Any:
    """What the row has for a field, or None. A blank text is none."""
    stored: list[Any] = [row.get(name) for name in COLUMNS_OF.get(field, ())]
    if not stored or not all(stored):
        return None
    if field == "mask":
        return mask_array(stored[0])
    if field == "examples":
        return tuple((made_image(before), made_image(after)) for before, after in zip(*stored, strict=True))
    return stored[0].strip() or None
