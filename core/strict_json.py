"""Strict models for JSON files that the project wrote: a changed or damaged file is one clear error."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import DamagedFileError

Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""A number of rows, files or bytes."""


class State(BaseModel):
    """Base of the models of JSON files: no value is converted, and numbers are finite."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=State)


def parse(model: type[S], content: bytes, name: str) -> S:
    """The content of file `name` as `model`. Raises `DamagedFileError` naming the file and the field."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{place}: {first['msg'].lower()}" if place else first["msg"].lower()
        raise DamagedFileError(f"{name} is not as it was written ({reason}); remove it and build again") from None
