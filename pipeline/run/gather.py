"""Finds rows of any shard by their ids, so that a stage can read images of other samples.

`pipeline.run.locate` has the place of each id. Each call reads every row group that it needs once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from core.errors import ContractError
from pipeline.run.locate import Places
from pipeline.store.row_sizes import BATCH_BYTES
from pipeline.store.run_folder import WHERE
from pipeline.store.tables import BULK_SUFFIX, checked, known_columns, named_damage, open_table
from samples.columns import COLUMNS, PARENT_ID, SAMPLE_ID, column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.storage import Storage

    Candidates = dict[str, list[tuple[int, int]]]
    """Id -> (shard number, row) of the rows that may be its own, the first one first."""


class Gatherer:
    """Called with ids, it returns a table of `sample_id` and the columns that the stage gathers, in their order."""

    def __init__(self, plan: Plan, storage: Storage, planned: PlannedStage) -> None:
        self._plan, self._storage, self._planned = plan, storage, planned
        self._known: dict[int, Places] = {}

    def __call__(self, ids: Sequence[str]) -> pa.Table:
        """The columns of these rows. Raises `ContractError` for an id that no row has.

        Raises `MemoryError` for several rows that are too large together: the engine then halves the batch.
        """
        found: dict[str, Any] = {SAMPLE_ID: pa.array(list(ids), pa.string())}
        groups: dict[tuple[int, bool], list[str]] = {}
        for name, provider in self._planned.gathered.items():
            groups.setdefault((provider, COLUMNS[name].bulk), []).append(name)
        ids_at = {provider: self._ids_at(provider, ids) for provider, _ in groups}
        for (provider, is_bulk), names in sorted(groups.items()):
            table = self._read(provider, BULK_SUFFIX if is_bulk else ".parquet", names, ids_at[provider])
            found |= {name: table[name] for name in names}
        return pa.table({name: found[name] for name in (SAMPLE_ID, *self._planned.gathered)})

    def _ids_at(self, provider: int, ids: Sequence[str]) -> Sequence[str]:
        """The ids that these rows had at a stage: the parent in each expand since, where that is gathered through."""
        for expand in reversed(self._planned.gathered_through):
            if expand > provider:
                ids = self._read(expand, ".parquet", [PARENT_ID], ids)[PARENT_ID].to_pylist()
        return ids

    def _read(self, provider: int, suffix: str, names: list[str], ids: Sequence[str]) -> pa.Table:
        if not ids:
            return pa.schema([(name, column(name).type) for name in names]).empty_table()
        distinct = list(dict.fromkeys(ids))
        left: Candidates = dict(zip(distinct, self._places(provider).candidates(distinct), strict=True))
        pieces: list[pa.Table] = []
        position: dict[str, int] = {}
        num_rows = num_bytes = 0
        while left:  # more than once only where ids share a hash
            self._refuse_absent(provider, left)
            for table, wanted in self._first_rows(provider, suffix, names, left):
                pieces.append(table)
                num_bytes += table.nbytes
                if num_bytes > BATCH_BYTES and len(distinct) > 1:
                    raise MemoryError(f"{len(ids)} rows to gather have more than {BATCH_BYTES} bytes")
                for at, (own, there) in enumerate(zip(wanted, table[SAMPLE_ID].to_pylist(), strict=True)):
                    position |= {there: num_rows + at} if there in own else {}
                num_rows += table.num_rows
            left = {own: found[1:] for own, found in left.items() if own not in position}
        return pa.concat_tables(pieces).take(pa.array([position[own] for own in ids], pa.int64()))

    def _refuse_absent(self, provider: int, left: Candidates) -> None:
        for own, found in left.items():
            if not found:
                stage = self._plan.stages[provider].name
                raise ContractError(f"cannot gather row {own!r}: stage {stage} kept no row of that id")

    def _first_rows(
        self, provider: int, suffix: str, names: list[str], candidates: Candidates
    ) -> Iterator[tuple[pa.Table, list[set[str]]]]:
        """Tables of the rows at the first place of each id, with the ids that are looked for at each row."""
        by_shard: dict[int, dict[int, set[str]]] = {}
        for own, found in candidates.items():
            by_shard.setdefault(found[0][0], {}).setdefault(found[0][1], set()).add(own)
        for shard, wanted in sorted(by_shard.items()):
            rel = f"{self._plan.stages[provider].folder}/{self._plan.shards[shard].name}{suffix}"
            rows = np.array(sorted(wanted), np.int64)
            done = 0
            for table in self._rows(rel, names, rows):
                yield table, [wanted[row] for row in rows[done : done + table.num_rows].tolist()]
                done += table.num_rows

    def _rows(self, rel: str, names: list[str], wanted: NDArray[np.int64]) -> Iterator[pa.Table]:
        """Rows of one file by their sorted numbers. Row groups without any of them are not read."""
        start = 0
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

    def _places(self, provider: int) -> Places:
        if provider not in self._known:
            self._known[provider] = Places(
                self._storage, f"{self._planned.folder}/{WHERE}/{provider}", len(self._plan.shards)
            )
        return self._known[provider]
