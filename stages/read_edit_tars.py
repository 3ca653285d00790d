"""Read edits whose images lie in tars, by names in Parquet tables: ImgEdit's single edits and sessions.

Reads   Parquet tables with lists of names (`input_images`, `output_images`) and `prompt`, or with these for each turn
        of a session under `data`; beside them the tars, whole or in pieces (`NAME.tar.split.000` …), which stay as
        they are
Writes  source_raw (binary, virtual: read again on demand), source_sha256 (string), source_key (string),
        source_size_bytes (int64), source_url (string), source_metadata (string, JSON), source_licence (string),
        caption (string), target_raw (binary, virtual), mask_raw (binary, virtual), source_caption (string),
        target_caption (string), instruction (string), reverse_instruction (string), edit_object (string),
        edit_type (string), edit_writer (string), instructions (list<string>), session_id (string), turn (int32)
Drops   edits without instruction or image, those with several source images or several targets, with an image that is
        not in the tar, empty, too big, or named outside of it
Source  Ye et al. 2025, ImgEdit; files as in PKU-YuanGroup/ImgEdit, README at commit 1287657.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from core.errors import PlanError, ShardFailed
from pipeline.plan.inputs import expand_inputs, file_identity, name_shards
from pipeline.stage import Needs, Shard, SourceStage
from pipeline.store.records import digest
from stages.inputs.edit_rows import TRIPLE_COLUMNS, EditReject, Needed, triple_row
from stages.inputs.image_tars import ImageTar, list_image_tars, tar_of
from stages.inputs.parquet_rows import TableReader, table_reader
from stages.inputs.rows import in_tables
from stages.inputs.tar_edits import NAMES, edits_in, kind_of, named_columns, names_of, take_images
from stages.inputs.tar_images import TarImages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipeline.context import Context

SUFFIXES = (".parquet",)
LOOKED_AT_ROWS = 20
"""First rows of a table, whose names say which tar holds its images."""
NEEDED = Needed(captions=False, target=True)


class ReadEditTars(SourceStage):
    """Edits with their images, one shard for every `rows_per_shard` rows of a table; a session is one row."""

    version: ClassVar[int] = 1
    writes: ClassVar = TRIPLE_COLUMNS
    rejects: ClassVar = EditReject
    needs: ClassVar = Needs(memory_bytes=1 << 30)

    rows_per_shard: int = Field(default=1000, ge=1)
    """Rows of a table in one shard."""
    max_image_bytes: int = Field(default=50_000_000, ge=1)
    """A larger image file is rejected."""

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """Shards `<table>-00000` … of each table. Raises `PlanError` for a table without its tar."""
        shards: list[Shard] = []
        for name, url in name_shards(expand_inputs(inputs, SUFFIXES)).items():
            try:
                shards += self._shards_of(url, name)
            except ShardFailed as error:
                raise PlanError(str(error)) from None
        if not shards:
            raise PlanError(f"tables {', '.join(inputs)[:200]} have no rows")
        return shards

    def _shards_of(self, url: str, name: str) -> Iterator[Shard]:
        tar, total = _tar_and_rows(url)
        identity = digest([file_identity(url)[0], tar.identity])
        for part, start in enumerate(range(0, total, self.rows_per_shard)):
            stop = min(total, start + self.rows_per_shard)
            yield Shard(
                name=f"{name}-{part:05d}", uri=url, part=(start, stop), identity=identity,
                num_bytes=sum(tar.sizes) * (stop - start) // total,
            )  # fmt: skip

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that reads one span of a table. The tar of the latest table stays open."""
        readers: dict[str, TableReader] = {}
        opened: dict[str, TarImages] = ctx.shared.setdefault("opened", {})

        def rows(shard: Shard) -> Iterator[dict[str, Any]]:
            assert shard.part is not None
            images = _images_of(shard, opened)
            ctx.notes.update(images.notes)
            session = shard.name.rpartition("-")[0]
            with table_reader(shard.uri, readers, lambda schema: named_columns(schema, shard.uri)) as table:
                for number, found in enumerate(table.read(*shard.part), shard.part[0]):
                    for edit in edits_in(found, number, f"{session}/{number}", ctx.notes):
                        take_images(edit, images, self.max_image_bytes)
                        row = triple_row(edit, shard.name, NAMES, NEEDED)
                        yield {**row, "edit_type": row["edit_type"] or kind_of(shard.uri)}
                ctx.notes.update(table.take_notes())

        return lambda shard: in_tables(rows(shard), TRIPLE_COLUMNS)


def _tar_and_rows(url: str) -> tuple[ImageTar, int]:
    """(the tar of a table's images, the table's rows)."""
    with contextlib.closing(TableReader(url, lambda schema: named_columns(schema, url))) as table:
        first = enumerate(table.read(0, min(LOOKED_AT_ROWS, table.num_rows)))
        edits = itertools.chain.from_iterable(edits_in(row, number, "", Counter()) for number, row in first)
        names = [name for edit in edits for name in names_of(edit).values() if isinstance(name, str)]
        return tar_of(url, names, list_image_tars(url)), table.num_rows


def _images_of(shard: Shard, opened: dict[str, TarImages]) -> TarImages:
    """The tar of the shard's table, indexed. Raises `ShardFailed` when table or tar changed after the plan."""
    if shard.identity not in opened:
        for images in opened.values():
            images.close()
        opened.clear()
        tar, _ = _tar_and_rows(shard.uri)
        if digest([file_identity(shard.uri)[0], tar.identity]) != shard.identity:
            raise ShardFailed(
                f"{shard.uri}: the table or {tar.stem}.tar was changed after the plan; run the same command again"
            )
        opened[shard.identity] = TarImages(tar)
    return opened[shard.identity]
