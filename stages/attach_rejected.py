"""Fetch the edited image of the rejected candidate, wherever it lies, and check that it is an edit of the same source.

It comes after `pair_preferences`, which dropped the row of the rejected candidate. The image is read from the files of
the stage that made it, where rows stay that later stages drop.

Reads   rejected_id (string), source_images (list<binary>), target_image (binary)
Writes  rejected_image (binary), rejected_format (string): no values where rejected_id has none
Drops   pairs whose rejected candidate was made from another source image, byte by byte (another_source), has no edited
        image (no_rejected_image), or has the same one as the chosen candidate (same_image)
Source  Wallace et al. 2023, Diffusion-DPO (arXiv 2311.12908): both images of a pair share their condition, which for an
        edit is the source image with the instruction.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.stage import MapStage
from samples.columns import REJECT_DETAIL, REJECT_REASON

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.context import Context
    from pipeline.stage import BatchFn


class NoPreference(StrEnum):
    """Why a pair shows no preference between two edits of one image."""

    ANOTHER_SOURCE = "another_source"
    NO_REJECTED_IMAGE = "no_rejected_image"
    SAME_IMAGE = "same_image"


class AttachRejected(MapStage):
    """Pixels of the edit `rejected_id`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("rejected_id", "source_images", "target_image")
    gathers: ClassVar = ("source_images", "target_image", "target_format")
    gathers_from_parents: ClassVar[bool] = True
    writes: ClassVar = ("rejected_image", "rejected_format")
    rejects: ClassVar = NoPreference

    def needs_columns(self) -> tuple[str, ...]:
        """The id, with values: without any the stage would attach nothing."""
        return ("rejected_id",)

    def open(self, ctx: Context) -> BatchFn:
        """A function that gathers the rejected candidates of a batch at once."""

        def attach(batch: pa.Table) -> pa.Table:
            has_one = batch["rejected_id"].is_valid().to_numpy()
            pairs = batch.filter(pa.array(has_one))
            found = ctx.gather(pairs["rejected_id"].to_pylist())
            at = pa.array(np.cumsum(has_one) - 1, mask=~has_one)
            reasons = pa.array(list(_reasons(pairs, found)), pa.string())
            details = pc.binary_join_element_wise("rejected candidate ", pairs["rejected_id"], "")
            made = {
                "rejected_image": found["target_image"], "rejected_format": found["target_format"],
                REJECT_REASON: reasons, REJECT_DETAIL: pc.if_else(pc.is_valid(reasons), details, None),
            }  # fmt: skip
            for name, values in made.items():
                batch = batch.append_column(name, values.take(at))
            return batch

        return attach


def _reasons(pairs: pa.Table, found: pa.Table) -> Iterator[str | None]:
    """The reason why each pair shows no preference, or None. The images are compared one pair at a time."""
    columns = (pairs["source_images"], pairs["target_image"], found["source_images"], found["target_image"])
    for source, target, rejected_source, rejected in zip(*columns, strict=True):
        if source.as_py() != rejected_source.as_py():
            yield NoPreference.ANOTHER_SOURCE.value
        elif not rejected.is_valid:
            yield NoPreference.NO_REJECTED_IMAGE.value
        else:
            yield NoPreference.SAME_IMAGE.value if rejected.equals(target) else None
