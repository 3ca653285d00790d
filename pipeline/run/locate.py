"""Where the row of each id is: shard and row number, in sorted files that workers map into memory.

A stage that gathers rows has two rounds before its shards. Groups of shards send a hash of each id with its place to
parts; each part sorts its rows and writes `where/<stage>/<part>.npy`, 16 bytes a row. A look-up touches a few pages of
a file, so the memory of a worker does not follow the rows. Files of a remote run folder are copied to the machine once.
"""

from __future__ import annotations

from tokenize import TokenError
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from core.errors import DamagedFileError
from pipeline.partitions import hash_texts, part_of
from pipeline.run.exchange import Inbox, Outbox
from pipeline.store.run_folder import WHERE
from pipeline.store.storage import describe_file
from pipeline.store.tables import read_light
from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.run.step import Step
    from pipeline.run.task import RoundStep
    from pipeline.store.storage import FileEntry, Storage

PLACE = np.dtype([("hash", "<u8"), ("shard", "<i4"), ("row", "<i4")])


def send_places(step: Step, place: RoundStep, run: str) -> dict[str, FileEntry]:
    """The first round: send the place of each row of a group of shards to its part."""
    outbox = Outbox(step.storage, step.planned.folder, run, step.task.shard)
    for provider in step.planned.located:
        folder = step.plan.stages[provider].folder

        def ids(number: int, folder: str = folder) -> tuple[int, pa.ChunkedArray]:
            rel = f"{folder}/{step.plan.shards[number].name}.parquet"
            return number, read_light(step.storage, rel, [SAMPLE_ID])[SAMPLE_ID]

        for number, found in step.storage.in_parallel(ids, range(*place.shards)):
            hashes = hash_texts(found)
            rows = pa.table({
                "hash": pa.array(hashes, pa.uint64()),
                "shard": pa.array(np.full(len(found), number, np.int32)),
                "row": pa.array(np.arange(len(found), dtype=np.int32)),
            })  # fmt: skip
            outbox.send(str(provider), rows, part_of(hashes, place.num_parts))
            step.beat(len(found))
    return outbox.write()


def sort_places(step: Step, place: RoundStep, run: str) -> dict[str, FileEntry]:
    """The second round: sort the places of one part by hash, shard and row, and write them."""
    inbox = Inbox(step.storage, step.planned.folder, run, range(place.index, place.index + 1))
    files: dict[str, FileEntry] = {}
    for provider in step.planned.located:
        tables = list(inbox.received(str(provider)))
        places = np.empty(sum(table.num_rows for table in tables), PLACE)
        for name in PLACE.names or ():
            places[name] = np.concatenate([t[name].to_numpy() for t in tables]) if tables else []
        name = f"{WHERE}/{provider}/{place.index:05d}.npy"
        with step.storage.writing(f"{step.planned.folder}/{name}") as temporary:
            np.save(temporary, np.sort(places, order=["hash", "shard", "row"]), allow_pickle=False)
            files[name] = describe_file(temporary)
    return files


class Places:
    """The places of all ids that one stage left."""

    def __init__(self, storage: Storage, folder: str, num_shards: int) -> None:
        """`folder` is the one that `sort_places` wrote to, below the run folder."""
        self._storage, self._folder, self._num_shards = storage, folder, num_shards
        self._names = sorted(storage.sizes(folder))
        self._parts: dict[int, NDArray[np.void]] = {}

    def candidates(self, ids: Sequence[str]) -> list[list[tuple[int, int]]]:
        """For each id the (shard number, row) of all rows with its hash: its own, in order, and perhaps others."""
        hashes = hash_texts(pa.array(ids, pa.string()))
        found: list[list[tuple[int, int]]] = [[] for _ in ids]
        if not self._names:
            return found
        parts = part_of(hashes, len(self._names))
        for number in np.unique(parts):
            known = self._part(int(number))
            rows = np.flatnonzero(parts == number)
            low = np.searchsorted(known["hash"], hashes[rows], "left")
            high = np.searchsorted(known["hash"], hashes[rows], "right")
            for row, begin, end in zip(rows.tolist(), low.tolist(), high.tolist(), strict=True):
                found[row] = [(int(at["shard"]), int(at["row"])) for at in known[begin:end]]
                if not all(0 <= shard < self._num_shards for shard, _ in found[row]):
                    name = f"{self._folder}/{self._names[int(number)]}"
                    raise DamagedFileError(f"{name} names a shard that is not there; remove it and build again")
        return found

    def _part(self, number: int) -> NDArray[np.void]:
        if number not in self._parts:
            rel = f"{self._folder}/{self._names[number]}"
            path = self._storage.fetch(rel, self._storage.scratch())
            try:
                known = np.load(path, mmap_mode="r", allow_pickle=False)
            except (ValueError, EOFError, SyntaxError, TokenError, BadZipFile) as error:
                raise DamagedFileError(f"{rel} cannot be read ({error}); remove it and build again") from None
            if not isinstance(known, np.ndarray) or known.dtype != PLACE or known.ndim != 1:
                raise DamagedFileError(f"{rel} has no places of rows; remove it and build again")
            self._parts[number] = known
        return self._parts[number]
