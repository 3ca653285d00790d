"""Runs an export: shards side by side in processes, those already done left out, then the files that describe all."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import ExportError, UsageError
from core.locations import lies_in
from export.card import licence_of, write_card
from export.columns import light_columns
from export.exported import Exported
from export.shard_folder import PIECES
from export.state import (
    TARGET,
    check_folder,
    check_is_export,
    clear,
    exclusive,
    hold_as_worker,
    key_of,
    write_atomically,
)
from export.texts import clean_text
from export.write_shard import LEFT_OUT, Export, write_shard

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from export.format import Format
    from export.state import Record
    from samples.shards import ShardFile, ShardList

log = logging.getLogger(__name__)

REPORT_EVERY_S = 5.0
WAITING_PER_WORKER = 2
"""Shards that are handed to the pool ahead, for each worker."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished export: rows in it, rows left out by reason, shards that this run exported and all there are."""

    num_rows: int
    left_out: dict[str, int]
    num_exported: int
    num_shards: int


def export_dataset(
    dataset: ShardList, made: Format, out: Path, *, split: str, workers: int, overwrite: bool = False
) -> Result:
    """Export a dataset, or what is missing of an export that was interrupted.

    Raises UsageError for a folder with something else, DatasetError for a damaged dataset, ExportError where no row
    could be exported or a worker died.
    """
    columns = light_columns(dataset)
    target = _target(dataset, split, made) | {"columns": columns}
    shards = [shard for shard in dataset.of_split(split).shards if shard.num_samples]
    _check_place(dataset, out)
    if overwrite:
        check_is_export(out)
    else:
        check_folder(out, target)
    with exclusive(out):
        if overwrite:
            clear(out)
        write_atomically(out / TARGET, (json.dumps(target, indent=1) + "\n").encode())
        export = Export(dataset=dataset, split=split, made=made, out=out, key=key_of(target), columns=tuple(columns))
        return _run(export, shards, workers)


def _target(dataset: ShardList, split: str, made: Format) -> dict[str, Any]:
    """All that decides the bytes of an export. The licence can change without another tar, and the card states it."""
    licence = hashlib.sha256("\n".join(licence_of(dataset)).encode()).hexdigest()
    return {
        "dataset": dataset.fingerprint, "split": split, "format": made.name, "version": made.version,
        "settings": made.model_dump(mode="json"), "licence": licence,
    }  # fmt: skip


def _check_place(dataset: ShardList, out: Path) -> None:
    """Raise UsageError for an output folder in the dataset's folder or above it, or of a name that no text can hold."""
    if clean_text(str(out.resolve())) != str(out.resolve()):  # trainers' files hold the path
        raise UsageError(f"{str(out)!r} has characters that files for trainers cannot hold; name another folder")
    if lies_in(str(out), dataset.url) or lies_in(dataset.url, str(out)):
        raise UsageError(f"{out} and the dataset {dataset.url} lie in each other; name another folder with --out")


def _run(export: Export, shards: Sequence[ShardFile], workers: int) -> Result:
    state, done = export.state, dict[str, "Record"]()
    is_finished = state.finished()
    for shard in shards:
        record = state.record(shard)
        if record is not None and (is_finished or state.has_pieces(record)):
            done[shard.file] = record
    if is_finished and len(done) < len(shards):
        state.unfinish()
        done = {name: record for name, record in done.items() if state.has_pieces(record)}
    missing = [shard for shard in shards if shard.file not in done]
    if missing or not state.finished():
        for shard, record in _written(export, missing, workers):
            done[shard.file] = record
        _finish(export, [done[shard.file] for shard in shards])
    shutil.rmtree(export.out / PIECES, ignore_errors=True)
    records = [done[shard.file] for shard in shards]
    whole = Exported(out=export.out, dataset=export.dataset, split=export.split, records=records)
    return Result(
        num_rows=whole.num_rows, left_out=dict(whole.left_out), num_exported=len(missing), num_shards=len(shards)
    )


def _finish(export: Export, records: Sequence[Record]) -> None:
    """Write the files that describe all shards, then the note that the export is finished."""
    whole = Exported(out=export.out, dataset=export.dataset, split=export.split, records=records)
    if not whole.num_rows:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(whole.left_out.items()))
        reasons = reasons or "it has no samples"
        whole.join(LEFT_OUT)
        raise ExportError(
            f"no row of {export.dataset.url} can be exported to {export.made.name}: {reasons}; "
            f"{export.out / LEFT_OUT} lists them"
        )
    guide = export.made.finish(whole)
    if whole.left_out:
        whole.join(LEFT_OUT)
    write_card(whole, export.made, guide)
    export.state.finish(whole.files)


def _written(export: Export, shards: Sequence[ShardFile], workers: int) -> Iterator[tuple[ShardFile, Record]]:
    """Export the shards, in this process or in several. Yields each one when its record is there."""
    num_workers = min(workers, len(shards))
    progress = _Progress(len(shards))
    written = _side_by_side(export, shards, num_workers) if num_workers > 1 else _one_by_one(export, shards)
    for pair in written:
        progress.add()
        yield pair


def _one_by_one(export: Export, shards: Sequence[ShardFile]) -> Iterator[tuple[ShardFile, Record]]:
    for shard in shards:
        yield shard, write_shard(export, shard)


def _side_by_side(
    export: Export, shards: Sequence[ShardFile], num_workers: int
) -> Iterator[tuple[ShardFile, Record]]:  # fmt: skip
    """Export in processes. After an error no further shard is started, and those in work are finished first."""
    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_workers, mp_context=spawning, initializer=_start_worker, initargs=(export,))
    waiting: dict[Future[Record], ShardFile] = {}
    left = iter(shards)
    try:
        while True:
            while len(waiting) < num_workers * WAITING_PER_WORKER and (shard := next(left, None)) is not None:
                waiting[pool.submit(_in_worker, shard)] = shard
            if not waiting:
                return
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool:
        raise ExportError(
            f"a worker died while it exported to {export.out}: killed, or out of memory; run the same command again, "
            "perhaps with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_of_worker: list[Export] = []
"""What this process exports, where it is a worker."""


def _start_worker(export: Export) -> None:
    """Prepare a worker: it marks the folder as in use, and ends when its parent does.

    A worker whose parent ended before the mark was there writes nothing, since the next export may run already.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets shards in work end
    hold_as_worker(export.out)
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        os._exit(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _of_worker.append(export)


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _in_worker(shard: ShardFile) -> Record:
    return write_shard(_of_worker[0], shard)


class _Progress:
    """A line now and then on how many shards are done."""

    def __init__(self, num_shards: int) -> None:
        self._num_shards, self._num_done, self._reported_at = num_shards, 0, time.monotonic()

    def add(self) -> None:
        """Count a shard."""
        self._num_done += 1
        if time.monotonic() - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = time.monotonic()
            log.info("%d of %d shards", self._num_done, self._num_shards)
