"""Fetch the retrieved image, wherever it lies in the collection, as the target image of the pair.

Reads   target_id (string)
Writes  target_image (binary), target_format (string), target_licence (string)
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
    """Pixels and licence of the target: the normalised source image of the row `target_id`."""

    version: ClassVar[int] = 2
    reads: ClassVar = ("target_id",)
    gathers: ClassVar = ("source_images", "source_format", "source_licence")
    writes: ClassVar = ("target_image", "target_format", "target_licence")

    def open(self, ctx: Context) -> BatchFn:
        """A function that gathers the targets of a batch at once. Large batches read each row group once."""

        def attach(batch: pa.Table) -> pa.Table:
            found = ctx.gather(batch["target_id"].to_pylist())
            batch = batch.append_column("target_image", pc.list_element(found["source_images"], 0))
            batch = batch.append_column("target_format", found["source_format"])
            return batch.append_column("target_licence", found["source_licence"])

        return attach
