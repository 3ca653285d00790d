"""Read image-caption samples from WebDataset tars in img2dataset's layout.

Reads   `<key>.<suffix of samples.images>`, `<key>.txt` (or `.caption`, `.text`), `<key>.json` in each tar, or tars put
        together; without a text the caption is the JSON's `caption`, or the text under usual names
Writes  source_raw (binary, virtual: read again on demand), source_sha256 (string), source_key (string),
        source_size_bytes (int64), source_url (string), source_metadata (string, JSON), source_licence (string),
        caption (string)
Drops   samples without a usable image or caption, repeated keys, what lies behind a cut in the archive
Source  webdataset and img2dataset file layouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pipeline.plan.inputs import shards_of_files
from pipeline.stage import Shard, SourceStage
from stages.inputs.rows import SOURCE_COLUMNS, InputReject, tables_of
from stages.inputs.tar_samples import TarReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipeline.context import Context


class ReadWebdataset(SourceStage):
    """Image-caption samples of WebDataset tars, one shard a tar."""

    version: ClassVar[int] = 3
    writes: ClassVar = SOURCE_COLUMNS
    rejects: ClassVar = InputReject

    require_caption: bool = True
    """Whether an image without caption is rejected."""
    max_image_bytes: int = Field(default=100_000_000, ge=1)
    """A larger image file is rejected."""

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """One shard a tar."""
        return shards_of_files(inputs, (".tar",))

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that reads one tar, in bounded memory."""
        reader: TarReader = ctx.shared.setdefault("reader", TarReader())

        def read(shard: Shard) -> Iterator[pa.Table]:
            samples = reader.samples(shard.uri, self.max_image_bytes, ctx.notes, identity=shard.identity)
            return tables_of(samples, shard.name, ctx.notes, require_caption=self.require_caption)

        return read
