"""Bounds on columns of numbers, as manifests write them: `bounds.pair_image_cos = { min = 0.75 }`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field, model_validator

from core.settings import Settings
from samples.columns import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Mapping

NUMBERS = tuple(
    name
    for name, one in COLUMNS.items()
    if pa.types.is_floating(one.type) or (pa.types.is_integer(one.type) and one.type != pa.uint64())
)
"""Columns that can have a bound, in the order of the checks; 64 bits without sign are hashes."""
BOUND_REASONS = tuple(f"{side}_{name}" for name in NUMBERS for side in ("low", "high"))
"""Reject reasons of bounds: one for each side of each column."""


class Bounds(Settings):
    """Least and greatest value that passes. A bound that is left out asks for nothing.

    No value passes no bound, but with `may_be_missing`: a score outside of the region has none where the region is all.
    """

    min: float | None = None
    max: float | None = None
    may_be_missing: bool = False

    @model_validator(mode="after")
    def _can_pass(self) -> Bounds:
        if self.min is None and self.max is None:
            raise ValueError("expected min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is more than max {self.max}")
        return self

    def failed(self, value: float | None) -> tuple[str, float] | None:
        """(side, bound) that the value is beyond. NaN is beyond the first bound that is set, and so is no value.

        A value passes that is equal to a bound in single precision, in which scores are stored.
        """
        if value is None and self.may_be_missing:
            return None
        if self.min is not None and not (value is not None and (value >= self.min or _is_on(value, self.min))):
            return "low", self.min
        if self.max is not None and not (value is not None and (value <= self.max or _is_on(value, self.max))):
            return "high", self.max
        return None


def _is_on(value: float, bound: float) -> bool:
    return bool(np.float32(value) == np.float32(bound))


def _check_table(table: Mapping[str, Bounds]) -> Mapping[str, Bounds]:
    """Refuse bounds that no value of a declared column can have. The plan refuses columns that no stage writes."""
    for name, bounds in table.items():
        if name in COLUMNS and name not in NUMBERS:
            raise ValueError(f"column {name!r} holds no numbers: it cannot have a bound")
        least, greatest = COLUMNS[name].value_range if name in COLUMNS else (-math.inf, math.inf)
        for bound in (bounds.min, bounds.max):
            if bound is not None and not least <= bound <= greatest:
                raise ValueError(
                    f"column {name!r} has values from {least:g} to {greatest:g}: a bound of {bound} is none"
                )
    return table


BoundsTable = Annotated[dict[str, Annotated[Bounds, Field(strict=False)]], AfterValidator(_check_table)]
