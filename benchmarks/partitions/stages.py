"""Stages of this benchmark: sources that make their rows by code, and one that gathers a row of another shard."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.partitions.rows import Size, image_table, other_ids, pair_table
from pipeline.stage import MapStage, Shard, SourceStage
from samples.columns import SAMPLE_ID, column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.context import Context
    from pipeline.stage import BatchFn

IMAGE_BYTES = 200


class _MadeRows(SourceStage):
    """Rows made by code from the shard's number."""

    version: ClassVar[int] = 1
    num_rows: int
    rows_per_shard: int

    @property
    def size(self) -> Size:
        """How many rows there are, and in how large shards."""
        return Size(num_rows=self.num_rows, rows_per_shard=self.rows_per_shard)

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """All shards: nothing is read."""
        del inputs
        return [Shard(name=name, uri=f"memory://made/{name}", identity="made") for _, name in self.size.shards()]

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that makes the rows of one shard."""
        del ctx

        def make(shard: Shard) -> Iterator[pa.Table]:
            yield self.table(int(shard.name))

        return make

    @abstractmethod
    def table(self, shard: int) -> pa.Table:
        """The rows of one shard."""


class MadeImages(_MadeRows):
    """What `dedup` reads, a small image, and the id of a row of another shard."""

    writes: ClassVar = (
        "source_sha256", "source_dhash", "original_width_px", "original_height_px", "caption_num_words", "target_id",
        "source_images",
    )  # fmt: skip

    def table(self, shard: int) -> pa.Table:
        """The rows of one shard."""
        rows = image_table(self.size, shard)
        image = pa.array([[own.encode().ljust(IMAGE_BYTES, b".")] for own in rows[SAMPLE_ID].to_pylist()],
                         column("source_images").type)  # fmt: skip
        return rows.append_column("target_id", other_ids(self.size, shard)).append_column("source_images", image)


class MadePairs(_MadeRows):
    """What `select` reads: scores of candidates by parent."""

    writes: ClassVar = (
        "source_key", "target_id", "edit_type", "source_caption_cos", "target_caption_cos", "pair_image_cos",
        "pair_direction_cos",
    )  # fmt: skip

    def table(self, shard: int) -> pa.Table:
        """The rows of one shard."""
        rows = pair_table(self.size, shard)
        return rows.append_column("source_key", rows["parent_id"])  # a source has no parents


class FollowTarget(MapStage):
    """Gathers the image of the row `target_id`, as `attach_target` does."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("target_id",)
    gathers: ClassVar = ("source_images",)
    writes: ClassVar = ("source_size_bytes",)

    def open(self, ctx: Context) -> BatchFn:
        """A function that checks that each image is the one of the row that was asked for."""

        def follow(batch: pa.Table) -> pa.Table:
            images = pc.list_element(ctx.gather(batch["target_id"].to_pylist())["source_images"], 0)
            found = [image[:16].decode() for image in images.to_pylist()]
            if found != [own[:16] for own in batch["target_id"].to_pylist()]:
                raise ValueError("gathered the image of another row")
            sizes = pc.binary_length(images).combine_chunks().cast(pa.int64())
            return batch.append_column("source_size_bytes", pa.chunked_array([sizes]))

        return follow
