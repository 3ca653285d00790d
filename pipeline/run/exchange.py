"""Rows that the steps of one round send to the steps of later ones, in files of the stage's folder.

A step writes one file for each stream: for each destination with rows one block, an Arrow stream, then the places and
checksums of the blocks, then their length. A reader fetches the end of a file, and then only the block that is for it;
a small file is one request. Rows of a destination keep the order in which they were sent.
"""

from __future__ import annotations

import io
import json
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from core.errors import DamagedFileError
from pipeline.store.run_folder import EXCHANGE
from pipeline.store.storage import describe_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.store.storage import FileEntry, Storage

TAIL_BYTES = 1 << 16
"""Bytes that are read first, from the end of a file: the places of the blocks, or a whole small file."""
_LENGTH_BYTES = 8
_CODEC = "zstd"


class Outbox:
    """Collects the rows that one step sends, and writes them as one file a stream."""

    def __init__(self, storage: Storage, stage_folder: str, run: str, step: str) -> None:
        """`run` tells apart what was sent for different inputs, `step` names the sender."""
        self._storage, self._folder, self._run, self._step = storage, stage_folder, run, step
        self._held: dict[str, list[tuple[pa.Table, NDArray[np.int64]]]] = {}

    def send(self, stream: str, rows: pa.Table, to: NDArray[np.int64]) -> None:
        """Send each row to its destination. Raises `ValueError` unless there is one for each row."""
        if len(to) != rows.num_rows:
            raise ValueError(f"stream {stream}: {rows.num_rows} rows and {len(to)} destinations")
        if rows.num_rows:
            self._held.setdefault(stream, []).append((rows, np.asarray(to, np.int64)))

    def write(self) -> dict[str, FileEntry]:
        """Write the files. Returns them under their names in the stage's folder."""
        files: dict[str, FileEntry] = {}
        for stream, held in sorted(self._held.items()):
            name = f"{EXCHANGE}/{self._run}/{stream}/{self._step}.blocks"
            with self._storage.writing(f"{self._folder}/{name}") as temporary:
                temporary.write_bytes(_packed(held))
                files[name] = describe_file(temporary)
        return files


def _packed(held: list[tuple[pa.Table, NDArray[np.int64]]]) -> bytes:
    rows = pa.concat_tables([table for table, _ in held]).combine_chunks()
    to = np.concatenate([destination for _, destination in held])
    if np.any(np.diff(to) < 0):
        order = np.argsort(to, kind="stable")
        rows, to = rows.take(pa.array(order)), to[order]
    starts = np.flatnonzero(np.diff(to, prepend=to[0] - 1))
    out, places = io.BytesIO(), []
    for start, stop in zip(starts, [*starts[1:], len(to)], strict=True):
        begin = out.tell()
        block = rows.slice(start, stop - start).combine_chunks()
        with pa.ipc.new_stream(out, rows.schema, options=pa.ipc.IpcWriteOptions(compression=_CODEC)) as writer:
            writer.write_table(block)
        places.append((int(to[start]), begin, out.tell(), zlib.crc32(out.getbuffer()[begin:])))
    index = zlib.compress(json.dumps(places, separators=(",", ":")).encode())
    out.write(index)
    out.write(len(index).to_bytes(_LENGTH_BYTES, "little"))
    return out.getvalue()


class Inbox:
    """Reads what was sent to one range of destinations of a stage, from the files of all earlier steps."""

    def __init__(self, storage: Storage, stage_folder: str, run: str, destinations: range) -> None:
        self._storage, self._folder, self._to = storage, f"{stage_folder}/{EXCHANGE}/{run}", destinations
        self._by_number: dict[str, dict[int, list[pa.Table]]] = {}

    def received(self, stream: str) -> Iterator[pa.Table]:
        """The rows of a stream that were sent to any of the destinations, a table a sender and destination."""
        for _, table in self._read(stream):
            yield table

    def received_by(self, number: int, stream: str) -> Iterator[pa.Table]:
        """The rows that were sent to one of the destinations. The first call for a stream reads those of all."""
        if stream not in self._by_number:
            self._by_number[stream] = {}
            for to, table in self._read(stream):
                self._by_number[stream].setdefault(to, []).append(table)
        yield from self._by_number[stream].get(number, [])

    def _read(self, stream: str) -> Iterator[tuple[int, pa.Table]]:
        folder = f"{self._folder}/{stream}"
        files = [(f"{folder}/{name}", size) for name, size in sorted(self._storage.sizes(folder).items())]
        for found in self._storage.in_parallel(self._blocks, files):
            yield from found

    def _blocks(self, file: tuple[str, int]) -> list[tuple[int, pa.Table]]:
        """The rows of a file, given with its size, that were sent to the destinations."""
        rel, size = file
        tail = self._storage.read_range(rel, max(0, size - TAIL_BYTES), size)
        try:
            length = int.from_bytes(tail[-_LENGTH_BYTES:], "little")
            index_at = max(0, size - _LENGTH_BYTES - length)
            if index_at < size - len(tail):
                tail = self._storage.read_range(rel, index_at, size)
            begin = size - len(tail)
            places = json.loads(zlib.decompress(tail[index_at - begin : -_LENGTH_BYTES]))
            wanted = [place for place in places if place[0] in self._to]
            if not wanted:
                return []
            first, last = wanted[0][1], wanted[-1][2]
            if first < begin:
                tail, begin = self._storage.read_range(rel, first, last), first
            return [(to, _table(tail[a - begin : b - begin], crc)) for to, a, b, crc in wanted]
        except (ValueError, TypeError, IndexError, RecursionError, zlib.error) as error:
            raise DamagedFileError(f"{rel} cannot be read ({error}); remove it and build again") from None


def _table(block: bytes, crc: int) -> pa.Table:
    if zlib.crc32(block) != crc:  # Arrow may crash on values that changed
        raise ValueError("a block has another checksum")
    return pa.ipc.open_stream(block).read_all()
