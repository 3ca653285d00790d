"""Measures the source image of each row, and its target image where there is one, each image of a batch once.

The stages of this group differ in the model and in what they measure. Owns which images are looked at, and the two
columns of each measure, `source_<measure>` and `target_<measure>`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from models.batches import prepared
from pipeline.stage import TwoPart
from samples.columns import column
from samples.stored_images import distinct_images, first_encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from models.protocols import Floats

    Measured = Mapping[str, Sequence[float]]
    """Measure -> one number an image."""

READS = ("source_images",)
READS_IF_PRESENT = ("target_image",)
DECIMALS = 3
"""Kept of a score. What lies below depends on how rows fell into batches: a softmax over cosines times 100 enlarges
the last digits of the cosines."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Ready:
    """The images of a batch, each once, made ready for the model. A row without an image has no place."""

    images: Any
    source_places: list[int | None]
    target_places: list[int | None]


def columns_of(*measures: str) -> tuple[str, ...]:
    """The two columns of each measure."""
    return tuple(f"{side}_{measure}" for side in ("source", "target") for measure in measures)


def measure_both(model: Any, measures: tuple[str, ...], measure: Callable[[Any], Measured]) -> TwoPart:
    """The function of a stage. `measure` is given images, or what the model made of them, and measures each."""

    def get_ready(batch: pa.Table) -> _Ready:
        sources = first_encoded(batch["source_images"])
        has_target = "target_image" in batch.column_names
        targets = batch["target_image"].to_pylist() if has_target else [None] * batch.num_rows
        images, places = distinct_images([one for one in (*sources, *targets) if one is not None])
        place = iter(places)
        source_places: list[int | None] = [next(place) for _ in sources]
        target_places = [None if one is None else next(place) for one in targets]
        return _Ready(images=prepared(model, images), source_places=source_places, target_places=target_places)

    def finish(batch: pa.Table, ready: _Ready) -> pa.Table:
        found = measure(ready.images) if len(ready.images) else dict.fromkeys(measures, ())
        for side, places in (("source", ready.source_places), ("target", ready.target_places)):
            for name in measures:
                values = [None if place is None else found[name][place] for place in places]
                batch = batch.append_column(f"{side}_{name}", pa.array(values, column(f"{side}_{name}").type))
        return batch

    return TwoPart(prepare=get_ready, finish=finish)


def rounded(scores: Floats) -> list[float]:
    """The scores as they are stored."""
    return [float(score) for score in np.round(scores.astype(np.float64), DECIMALS)]
