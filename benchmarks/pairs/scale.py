"""The size of a measurement: which pipeline, how many pairs and steps, on which device."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """`layout` names a pipeline of `checkpoints.LAYOUTS`, `latents` is the side of its latents."""

    layout: str
    latents: int
    num_pairs: int
    num_steps: int
    device: str = "cpu"
    dtype: str = "float32"

    def on(self, device: str, dtype: str, latents: int | None = None) -> Self:
        """The same on a device, of another size where one is given."""
        return replace(self, device=device, dtype=dtype, latents=latents or self.latents)

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)
