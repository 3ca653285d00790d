"""Compute what the edit of each row cost, from the tokens that its server billed and the prices of the manifest.

A stage of its own, so that a changed price repeats no edit.

Reads   edit_model (string), edit_input_tokens (int64), edit_output_tokens (int64)
Writes  edit_cost_usd (float64, US dollars; no value for a row without an edit of its own, and where a price per token
        is set and the server named no tokens; notes count the latter)
Drops   nothing
Source  OpenAI's price lists: so much an image, or so much a million tokens of input and of output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
from pydantic import Field, model_validator

from pipeline.stage import MapStage
from samples.columns import column

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn

DECIMALS = 9
PER_TOKENS = 1_000_000


class PriceEdit(MapStage):
    """The price of one request a row. Compositions and inverse pairs of a session were no request of their own."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("edit_model", "edit_input_tokens", "edit_output_tokens")
    writes: ClassVar = ("edit_cost_usd",)

    usd_per_image: float = Field(default=0.0, ge=0)
    """Price of one answer."""
    usd_per_million_input_tokens: float = Field(default=0.0, ge=0)
    """Price of a million tokens of requests."""
    usd_per_million_output_tokens: float = Field(default=0.0, ge=0)
    """Price of a million tokens of answers."""

    @model_validator(mode="after")
    def _has_a_price(self) -> Self:
        if not (self.usd_per_image or self._prices_tokens):
            raise ValueError("no price is set; set usd_per_image, or the prices of a million tokens")
        return self

    @property
    def _prices_tokens(self) -> bool:
        return bool(self.usd_per_million_input_tokens or self.usd_per_million_output_tokens)

    def open(self, ctx: Context) -> BatchFn:
        """Load nothing."""

        def price(batch: pa.Table) -> pa.Table:
            rows = batch.select(list(self.reads)).to_pylist()
            costs = [self._cost(*row.values()) for row in rows]
            unknown = sum(cost is None and row["edit_model"] is not None for cost, row in zip(costs, rows, strict=True))
            if unknown:
                ctx.notes["edits without billed tokens"] += unknown
            return batch.append_column("edit_cost_usd", pa.array(costs, column("edit_cost_usd").type))

        return price

    def _cost(self, model: Any, first: int | None, second: int | None) -> float | None:
        if model is None or (self._prices_tokens and (first is None or second is None)):
            return None
        tokens = self.usd_per_million_input_tokens * (first or 0) + self.usd_per_million_output_tokens * (second or 0)
        return round(self.usd_per_image + tokens / PER_TOKENS, DECIMALS)
