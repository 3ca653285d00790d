"""Settings of prompt-to-prompt that decide its pairs. What differs between candidates is in PairCandidate."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from core.settings import Settings


class PairSettings(Settings):
    """Settings shared by all pairs of a synthesiser."""

    size_px: int | None = Field(None, ge=1)
    """Longer side at which pairs are drawn; None: the side that the network was made for."""
    max_self_tokens: int | None = Field(None, ge=0)
    """Self-attention is shared in layers of at most this many queries; None: a sixteenth of the latent's pixels."""
    blend_grid: int = Field(4, ge=1)
    """Local blend reads the maps of layers with this many latent pixels, along each side, for a query."""
    blend_threshold: float = Field(0.3, ge=0, lt=1)
    """Share of a map's highest value above which a place belongs to the words of the local blend."""
    shares_noise: bool = True
    """True: both images of a pair are drawn from the same noise, that of ancestral steps included."""
    source: Literal["drawn", "photograph"] = "drawn"
    """`photograph`: the source of a pair is the anchor itself, and the target alone is drawn.

    Then the rows of the sources are the anchor noised to each step, so that the attention shared is the photograph's.
    """
    blend_steps: Literal["every", "odd", "even"] = "odd"
    """Steps, counted from 0, after which the anchor is put back outside of the region."""
    blends_last: bool = True
    """True: the anchor is put back after the last step too, whatever `blend_steps` says."""
    keeps_outside: bool = True
    """True: pixels outside of the region are copied from the anchor at the end."""
    as_released: bool = False
    """True: UltraEdit's released controller and loop, their faults included. Of the other settings only
    `size_px` and `max_self_tokens` are obeyed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.as_released and self.source == "photograph":
            raise ValueError("as_released draws both images; source = 'photograph' cannot be asked for with it")
        return self
