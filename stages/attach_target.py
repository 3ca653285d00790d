"""Fetch the retrieved image, wherever it lies in the collection, as the target image of the pair.

Reads   target_id (string)
Writes  target_image (binary), target_format (string)
Drops   nothing
Source  Bodur et al. 2023, iEdit (arXiv 2305.05947), section 3.1: the retrieved image is the pseudo-target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow.compute as pc

from pipeline.stage import MapStage

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.context import Context
    from pipeline.stage import BatchFn


class AttachTarget(MapStage):
    """Pixels of the target: the normalised source image of the row `target_id`."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("target_id",)
    gathers: ClassVar = ("source_images", "source_format")
    writes: ClassVar = ("target_image", "target_format")

    def open(self, ctx: Context) -> BatchFn:
        """A function that gathers the targets of a batch at once. Large batches read each row group once."""

        def attach(batch: pa.Table) -> pa.Table:
            found = ctx.gather(batch["target_id"].to_pylist())
            batch = batch.append_column("target_image", pc.list_element(found["source_images"], 0))
            return batch.append_column("target_format", found["source_format"])

        return attach
