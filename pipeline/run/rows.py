"""The rows of one shard that reach a stage, with columns of all earlier stages.

The source stage does not copy the input's images. For a stage that reads them, the source reads its shard again, row by
row, next to the columns.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.store.cursor import AlignedCursor, Cursor, ReadAhead
from pipeline.store.row_sizes import BATCH_BYTES, num_fitting
from pipeline.store.tables import BULK_SUFFIX, batches_of, open_columns, read_light
from samples.columns import COLUMNS, PARENT_ID, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.stage import Shard
    from pipeline.store.cursor import RowCursor
    from pipeline.store.storage import Storage

UNKNOWN_ROWS = 16
"""Most rows of a batch while the size of its results is unknown: rows with input images, since a small file may hold a
large image, and the first batch of a stage that makes images."""


class ShardRows:
    """The rows of one shard that one stage gets."""

    def __init__(
        self, plan: Plan, storage: Storage, stage: PlannedStage, shard: str,
        read_source: Callable[[Shard], Iterator[pa.Table]],
    ) -> None:  # fmt: skip
        self.plan, self.storage, self.stage, self.shard = plan, storage, stage, shard
        self._read_source = read_source
        self._heaviest = 0.0
        self._parents: dict[int, dict[str, str]] = {}
        """Index of an expand stage -> the parent of each of its rows."""
        self.ids = self._kept_ids()

    def __len__(self) -> int:
        return len(self.ids)

    def batches(self, rows_per_batch: int, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Tables of `sample_id` and the stage's columns, in order, each within `rows_per_batch` and `BATCH_BYTES`."""
        wanted = list(self.stage.providers if columns is None else columns)
        with contextlib.ExitStack() as stack:
            readers = [
                ReadAhead(self._cursor(provider, group, virtual, rows_per_batch, stack), self._ids_at(provider))
                for (provider, virtual, _), group in self._grouped(wanted).items()
            ]
            start = 0
            while start < len(self.ids):
                num_rows = min(rows_per_batch, self._most_rows(wanted), len(self.ids) - start)
                sizes = [reader.sizes(num_rows) for reader in readers]
                if sizes:
                    num_rows = min(len(s) for s in sizes)
                    num_rows = num_fitting(np.sum([s[:num_rows] for s in sizes], axis=0), BATCH_BYTES)
                stop = start + num_rows
                columns_ = {SAMPLE_ID: pa.chunked_array([pa.array(self.ids[start:stop], pa.string())])}
                for reader in readers:
                    table = reader.take(num_rows)
                    columns_ |= {name: table[name] for name in table.column_names}
                yield pa.table(columns_).select([SAMPLE_ID, *wanted])
                start = stop

    def made(self, num_rows: int, num_bytes: int) -> None:
        """Report the bytes that the stage made of that many rows. Later batches are sized by them."""
        self._heaviest = max(self._heaviest, num_bytes / num_rows)

    def _most_rows(self, wanted: Sequence[str]) -> int:
        """Rows whose results should fit into `BATCH_BYTES`, by the results so far."""
        most = max(1, int(BATCH_BYTES / self._heaviest)) if self._heaviest else len(self.ids)
        is_first = not self._heaviest and any(COLUMNS[name].bulk for name in self.stage.stage.writes)
        is_foreign = any(COLUMNS[name].virtual for name in wanted)
        return min(most, UNKNOWN_ROWS) if is_first or is_foreign else most

    def _grouped(self, wanted: Sequence[str]) -> dict[tuple[int, bool, bool], list[str]]:
        """Columns by what they are read from: the provider, whether virtual, whether bulk."""
        groups: dict[tuple[int, bool, bool], list[str]] = {}
        for name in wanted:
            key = self.stage.providers[name], COLUMNS[name].virtual, COLUMNS[name].bulk
            groups.setdefault(key, []).append(name)
        return groups

    def _cursor(
        self, provider: int, columns: list[str], virtual: bool, rows_per_batch: int, stack: contextlib.ExitStack
    ) -> RowCursor:
        stage = self.plan.stages[provider]
        origin = f"{stage.name}/{self.shard}"
        if virtual:
            stream = self._read_source(self.plan.shard(self.shard))
            if hasattr(stream, "close"):
                stack.callback(stream.close)
            return Cursor((t for t in stream if t.num_rows), columns, origin)
        is_bulk = COLUMNS[columns[0]].bulk
        rel = f"{stage.folder}/{self.shard}{BULK_SUFFIX if is_bulk else '.parquet'}"
        handle = stack.enter_context(open_copy(self.storage, rel) if is_bulk else self.storage.open_whole(rel))
        file, known = open_columns(handle, [SAMPLE_ID, *columns], rel)
        if file.metadata.num_rows == len(self.ids) and not self._expands_after(provider):
            # no row was rejected since, and rows keep their order: these are the same rows
            return AlignedCursor(batches_of(file, columns, rows_per_batch, rel), columns, origin)
        return Cursor(batches_of(file, known, rows_per_batch, rel), columns, origin)

    def _kept_ids(self) -> list[str]:
        upstream = self.plan.stages[self.stage.upstream]
        table = read_light(self.storage, f"{upstream.folder}/{self.shard}.parquet", [SAMPLE_ID])
        ids: list[str] = table[SAMPLE_ID].to_pylist()
        return ids

    def _ids_at(self, provider: int) -> list[str]:
        """The ids that these rows had at stage `provider`: the `parent_id` of each expand in between."""
        ids = self.ids
        for stage in reversed(self._expands_after(provider)):
            if stage.index not in self._parents:
                table = read_light(self.storage, f"{stage.folder}/{self.shard}.parquet", [SAMPLE_ID, PARENT_ID])
                both = table[SAMPLE_ID].to_pylist(), table[PARENT_ID].to_pylist()
                self._parents[stage.index] = dict(zip(*both, strict=True))
            ids = [self._parents[stage.index][i] for i in ids]
        return ids

    def _expands_after(self, provider: int) -> list[PlannedStage]:
        """The expand stages between the provider and this stage."""
        between = self.plan.stages[provider + 1 : self.stage.upstream + 1]
        return [stage for stage in between if stage.stage.kind == "expand"]


@contextlib.contextmanager
def open_copy(storage: Storage, rel: str) -> Iterator[IO[bytes]]:
    """The file, open for reading. A remote one is copied first: one request, where reading in pieces makes many."""
    with storage.reading(rel) as path, path.open("rb") as handle:
        yield handle
