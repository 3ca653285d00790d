"""The size of a measurement: which pipeline, how many pairs and steps, on which device."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from models.placement import Placement


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """`layout` names a pipeline of `checkpoints.LAYOUTS`, `latents` is the side of its latents."""

    layout: str
    latents: int
    num_pairs: int
    num_steps: int
    pairs_per_batch: int | None = None
    """Of ours; None: all of them."""
    device: str = "cpu"
    dtype: str = "float32"

    def on(self, device: str, dtype: str, latents: int | None = None) -> Self:
        """The same on a device, of another size where one is given."""
        return replace(self, device=device, dtype=dtype, latents=latents or self.latents)

    def placement(self) -> Placement:
        """Where and how ours is run."""
        return Placement(device=self.device, dtype=self.dtype, batch_size=self.pairs_per_batch or self.num_pairs)

    def as_json(self) -> dict[str, Any]:
        """The fields."""
        return asdict(self)
