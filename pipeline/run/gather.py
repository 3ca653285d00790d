"""Finds rows of any shard by their ids, so that a stage can read images of other samples.

Each call reads every row group that it needs once. Keeps 24 bytes in memory for each row of the dataset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.errors import ContractError
from pipeline.store.row_sizes import BATCH_BYTES
from pipeline.store.tables import checked, known_columns, named_damage, open_table, read_light
from samples.columns import SAMPLE_ID, column

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pipeline.plan.plan import Plan
    from pipeline.store.storage import Storage


class Gatherer:
    """Called with ids, it returns a table of `sample_id` and the columns, in the order of the ids.

    `columns` maps each column to the index of the stage that wrote it. The first call reads the ids of all shards.
    """

    def __init__(self, plan: Plan, storage: Storage, columns: Mapping[str, int]) -> None:
        self._plan, self._storage, self._columns = plan, storage, dict(columns)
        self._where: dict[int, tuple[NDArray[np.bytes_], NDArray[np.int32], NDArray[np.int32]]] = {}

    def __call__(self, ids: Sequence[str]) -> pa.Table:
        """The columns of these rows. Raises `ContractError` for an id that no row has.

        Raises `MemoryError` for several rows that are too large together: the engine then halves the batch.
        """
        found: dict[str, Any] = {SAMPLE_ID: pa.array(list(ids), pa.string())}
        for provider in sorted(set(self._columns.values())):
            names = [name for name, index in self._columns.items() if index == provider]
            table = self._read(provider, names, ids)
            found |= {name: table[name] for name in names}
        return pa.table({name: found[name] for name in (SAMPLE_ID, *self._columns)})

    def _read(self, provider: int, names: list[str], ids: Sequence[str]) -> pa.Table:
        if not ids:
            return pa.schema([(name, column(name).type) for name in names]).empty_table()
        wanted = np.unique(np.array(ids, dtype="S"))
        known, shard_of, row_of = self._rows_of(provider)
        at = np.minimum(np.searchsorted(known, wanted), max(len(known) - 1, 0))
        absent = wanted if not len(known) else wanted[known[at] != wanted]
        if len(absent):
            stage = self._plan.stages[provider].name
            raise ContractError(f"cannot gather row {absent[0].decode()!r}: stage {stage} kept no row of that id")
        shards, rows = shard_of[at], row_of[at]
        pieces, num_bytes = [], 0
        for shard in np.unique(shards):
            for piece in self._rows(provider, int(shard), names, np.sort(rows[shards == shard])):
                pieces.append(piece)
                num_bytes += piece.nbytes
                if num_bytes > BATCH_BYTES and len(wanted) > 1:
                    raise MemoryError(f"{len(ids)} rows to gather have more than {BATCH_BYTES} bytes")
        together = pa.concat_tables(pieces)
        position = {own: row for row, own in enumerate(together[SAMPLE_ID].to_pylist())}
        return together.take(pa.array([position[own] for own in ids], pa.int64()))

    def _rows_of(self, provider: int) -> tuple[NDArray[np.bytes_], NDArray[np.int32], NDArray[np.int32]]:
        """All ids of the stage, sorted, and for each the number of its shard and its row in that shard."""
        if provider not in self._where:
            ids: list[NDArray[np.bytes_]] = [np.empty(0, "S1")]
            shards: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
            rows: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
            for number, shard in enumerate(self._plan.shards):
                table = read_light(self._storage, self._file(provider, shard.name), [SAMPLE_ID])
                ids.append(np.array(table[SAMPLE_ID].to_pylist(), dtype="S"))
                shards.append(np.full(table.num_rows, number, np.int32))
                rows.append(np.arange(table.num_rows, dtype=np.int32))
            together = np.concatenate(ids)
            order = np.argsort(together, kind="stable")
            self._where[provider] = together[order], np.concatenate(shards)[order], np.concatenate(rows)[order]
        return self._where[provider]

    def _rows(self, provider: int, shard: int, names: list[str], wanted: NDArray[np.int32]) -> Iterator[pa.Table]:
        """Rows of one shard by their sorted numbers. Row groups without any of them are not read."""
        start = 0
        rel = self._file(provider, self._plan.shards[shard].name)
        with self._storage.open(rel) as handle:
            with named_damage(rel):
                file = open_table(handle)
                known = known_columns(file, [SAMPLE_ID, *names])
            for group in range(file.num_row_groups):
                stop = start + file.metadata.row_group(group).num_rows
                rows = wanted[(wanted >= start) & (wanted < stop)] - start
                if len(rows):
                    with named_damage(rel):
                        table = checked(file.read_row_group(group, columns=known, use_threads=False))
                    yield table.take(pa.array(rows, pa.int64()))
                start = stop

    def _file(self, provider: int, shard: str) -> str:
        return f"{self._plan.stages[provider].folder}/{shard}.parquet"
