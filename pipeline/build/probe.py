"""Estimates rows, disk and time of each stage: it builds a sample of the first shard and scales up."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from core.errors import RunStopped
from pipeline.build.build import Build
from pipeline.run.inprocess import InProcessExecutor
from pipeline.store.run_folder import STORE, RunFolder
from pipeline.store.storage import Storage
from pipeline.store.tables import read_light

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan

TAR_OVERHEAD_BYTES = 3 * 1024
"""Bytes of headers and padding of a three-member sample in a tar, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StageEstimate:
    """Estimate for one stage over all shards: rows out, bytes written, seconds of one worker."""

    stage: str
    rows_out: int
    num_bytes: int
    seconds: float


def probe(plan: Plan, num_rows: int) -> list[StageEstimate]:
    """Build the first `num_rows` rows of the first shard in a temporary folder and scale up.

    The scale is the bytes of the input over the bytes of the rows read. Raises `RunStopped` when the sample fails.
    """
    folder = tempfile.mkdtemp(prefix="editloom-probe-")
    try:
        first = plan.shards[0]
        if first.part is not None:  # else a source that downloads would fetch the whole shard
            first = replace(first, part=(first.part[0], min(first.part[1], first.part[0] + num_rows)))
        sample = replace(plan, out=folder, shards=(first,), row_limit=num_rows)
        storage = Storage(folder)
        result = Build(sample, storage, InProcessExecutor(storage), lambda _event, _fields: None).run()
        if not result.ok:
            raise RunStopped(f"the sample failed: {result.stopped or next(iter(result.failures.values()))}")
        factor = _scale(plan, sample, storage)
        return [
            StageEstimate(
                stage=planned.name,
                rows_out=round(tally.rows_out * factor),
                num_bytes=round(_bytes_written(storage, planned.folder, first.name) * factor),
                seconds=round(tally.seconds * factor, 1),
            )
            for planned, tally in zip(sample.stages, result.tallies, strict=True)
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scale(plan: Plan, sample: Plan, storage: Storage) -> float:
    """Number of rows of the whole input for each row of the sample."""
    source = sample.stages[0]
    record = RunFolder(storage).record(source.folder, sample.shards[0].name)
    rows_read = record.rows_in if record else 0
    parts = [s.part for s in plan.shards if s.part is not None]
    if len(parts) == len(plan.shards):  # the rows of each shard are known, and its bytes may be of a list of files
        return sum(stop - start for start, stop in parts) / max(1, rows_read)
    if sample.row_limit is None or rows_read < sample.row_limit:  # the whole first shard was read
        return plan.num_input_bytes / max(1, sample.num_input_bytes)
    if "source_size_bytes" not in source.stage.writes:
        return plan.num_input_bytes / max(1, sample.num_input_bytes)
    table = read_light(storage, f"{source.folder}/{sample.shards[0].name}.parquet", ["source_size_bytes"])
    num_bytes: int = (pc.sum(table["source_size_bytes"]).as_py() or 0) + table.num_rows * TAR_OVERHEAD_BYTES
    return plan.num_input_bytes / max(1, num_bytes)


def _bytes_written(storage: Storage, folder: str, shard: str) -> int:
    own = sum(size for name, size in storage.sizes(folder).items() if name.split(".", 1)[0] == shard)
    return own + storage.tree_bytes(f"{folder}/{STORE}") + storage.tree_bytes(f"{folder}/artifact")
