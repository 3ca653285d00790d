"""Download image-caption samples from tables of URLs, LAION's by default.

Reads   Parquet files with a column of URLs and one of captions; similarity, punsafe, pwatermark, WIDTH and HEIGHT where
        a filter asks for them; all further columns go to source_metadata
Writes  source_raw (binary, virtual: read again from the downloaded shard), source_sha256 (string), source_key (string),
        source_size_bytes (int64), source_url (string), source_metadata (string, JSON), source_licence (string),
        caption (string)
Drops   rows that a filter refuses, that have no caption or no URL, and URLs that give no image that may be used; each
        with its reason
Source  Schuhmann et al. 2022, LAION-5B; file layout and opt-out of img2dataset.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.errors import PlanError
from pipeline.plan.inputs import identify_inputs, name_shards
from pipeline.stage import Needs, Shard, SourceStage
from stages.download.kept_shard import check_proxies, kept_shard, store_of
from stages.download.settings import DownloadSettings, UrlTableSettings
from stages.download.status import TRANSIENT, UNASKED, LaionReject, UrlStatus
from stages.download.url_table import count_rows, named_columns, to_status
from stages.inputs.parquet_rows import table_reader
from stages.inputs.rows import SOURCE_COLUMNS, tables_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipeline.context import Context
    from stages.inputs.parquet_rows import TableReader


class ReadLaion(DownloadSettings, UrlTableSettings, SourceStage):
    """Image-caption samples behind the URLs of Parquet tables, one shard for every `rows_per_shard` rows.

    A shard is downloaded once, into a WebDataset tar and a table of statuses that the run folder keeps; it is read from
    there whenever its pixels are needed. The answers of the web decide the result too: two downloads of one table
    differ.
    """

    version: ClassVar[int] = 3
    writes: ClassVar = SOURCE_COLUMNS
    rejects: ClassVar = LaionReject
    retryable: ClassVar[frozenset[str]] = frozenset(reason.value for reason in TRANSIENT)
    final: ClassVar[frozenset[str]] = frozenset(reason.value for reason in UNASKED)
    needs: ClassVar = Needs(packages=("aiohttp", "PIL"))
    rows_per_shard: int = Field(default=1000, ge=1)
    """Rows of the table in one shard."""

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """Shards `<file>-00000` … of each table. Raises `PlanError` for a table without a column that is asked for."""
        check_proxies(self.speed)
        shards = []
        files = identify_inputs(inputs, (".parquet",))
        for name, url in name_shards(list(files)).items():
            identity, size = files[url]
            num_rows = count_rows(url, self)
            for part, start in enumerate(range(0, num_rows, self.rows_per_shard)):
                stop = min(num_rows, start + self.rows_per_shard)
                shards.append(
                    Shard(
                        name=f"{name}-{part:05d}", uri=url, identity=f"{identity}:{start}-{stop}",
                        num_bytes=size * (stop - start) // num_rows, part=(start, stop),
                    )
                )  # fmt: skip
        if not shards:
            raise PlanError(f"tables {', '.join(inputs)[:200]} have no rows")
        return shards

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that reads a shard, downloaded before unless `ctx.store` has it. A later stage never downloads."""
        store_of(ctx)
        readers: dict[str, TableReader] = {}

        def read(shard: Shard) -> Iterator[pa.Table]:
            from stages.download.store import read_back

            make_statuses = partial(self.statuses, shard, readers, ctx.notes)
            with kept_shard(ctx, shard.name, make_statuses, self) as (tar, statuses):
                samples = read_back(tar, statuses, ctx.stage_name, shard.name)
                yield from tables_of(samples, shard.name, ctx.notes, require_caption=self.require_caption)

        return read

    def statuses(self, shard: Shard, readers: dict[str, TableReader], notes: Counter[str]) -> list[UrlStatus]:
        """The shard's rows, judged by what the table says. `readers` keeps the table open from shard to shard."""
        assert shard.part is not None
        start, stop = shard.part
        with table_reader(shard.uri, readers, lambda schema: named_columns(schema, self, shard.uri)) as reader:
            rows = enumerate(reader.read(start, stop), start)
            statuses = [to_status(number, row, self, notes) for number, row in rows]
            notes.update(reader.take_notes())
            return statuses
