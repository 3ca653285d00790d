"""Steps on one shard: rows in, the stage's function, the contract checked, files and record out.

Which step runs when is decided in `pipeline.build.build`, and where in an executor. Steps over all shards are in
`pipeline.run.global_steps` and `pipeline.run.publish`.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from core.errors import ContractError
from pipeline.run.contract import check_expanded, check_mapped, check_source
from pipeline.run.prepare import batches_of
from pipeline.run.quarantine import Quarantine
from pipeline.run.rejects import EngineReject
from pipeline.run.shard_output import ShardOutput
from pipeline.sink import SinkShard
from pipeline.stage import SinkStage
from pipeline.store.folder_store import FolderStore
from samples.columns import COLUMNS, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.run.rows import ShardRows
    from pipeline.run.step import Step
    from pipeline.stage import BatchFn
    from pipeline.store.records import Record


def run_source(step: Step) -> Record:
    """Read the input shard. A row whose image bytes came earlier in the shard is rejected as a duplicate."""
    read, ctx = step.open()
    ctx.notes.clear()
    assert isinstance(ctx.store, FolderStore)
    ctx.store.kept.clear()
    limit = step.plan.row_limit
    seen: set[str] = set()
    with ShardOutput(step, step.task.shard) as out:
        for made in read(step.plan.shard(step.task.shard)):
            rows = _reject_repeats(check_source(step.planned, made), seen)
            if limit is not None:
                rows = rows.slice(0, max(0, limit - out.rows_in))
            out.rows_in += rows.num_rows
            out.write(rows)
            if limit is not None and out.rows_in >= limit:
                break
        return out.finish(dict(ctx.notes), ctx.store.kept)


def _reject_repeats(rows: pa.Table, seen: set[str]) -> pa.Table:
    ids = rows[SAMPLE_ID].to_pylist()
    reasons = rows[REJECT_REASON].to_pylist() if REJECT_REASON in rows.column_names else [None] * len(ids)
    details = rows[REJECT_DETAIL].to_pylist() if REJECT_DETAIL in rows.column_names else [None] * len(ids)
    for i, own in enumerate(ids):
        if reasons[i] is None and own in seen:
            reasons[i], details[i] = EngineReject.DUPLICATE_IMAGE.value, "same bytes as an earlier row of the shard"
        elif reasons[i] is None:
            seen.add(own)
    rows = rows.select([n for n in rows.column_names if n not in (REJECT_REASON, REJECT_DETAIL)])
    rows = rows.append_column(REJECT_REASON, pa.array(reasons, pa.string()))
    return rows.append_column(REJECT_DETAIL, pa.array(details, pa.string()))


def run_batches(step: Step) -> Record:
    """Run a map or expand stage on one shard, batch by batch."""
    planned = step.planned
    function, ctx = step.open()
    ctx.notes.clear()
    check = check_expanded if planned.stage.kind == "expand" else check_mapped

    def checked(run: BatchFn, batch: pa.Table) -> pa.Table:
        return _with_input(check(planned, batch[SAMPLE_ID].to_pylist(), run(batch)), batch)

    rows = step.rows(step.task.shard)
    batches = batches_of(step, rows, function, _rows_per_batch(step))
    with ShardOutput(step, step.task.shard) as out, closing(batches):
        quarantine = _quarantine(replace(step, announce=batches.announce), out, rows)
        for batch, run in batches:
            first, out.rows_in = out.rows_in, out.rows_in + batch.num_rows
            made = 0
            for result in quarantine.apply(partial(checked, run), batch, first):
                made += result.nbytes
                out.write(result)
            batches.made(batch.num_rows, made)
        return out.finish(dict(ctx.notes))


def _rows_per_batch(step: Step) -> int:
    return max(1, step.planned.run_on.rows_per_batch >> step.task.halvings)


def _quarantine(step: Step, out: ShardOutput, rows: ShardRows) -> Quarantine:
    max_frac = step.plan.manifest.run_on.max_quarantined_frac
    return Quarantine(out.rejects, len(rows), max_frac, suspects=step.task.suspects, announce=step.announce)


def _with_input(result: pa.Table, batch: pa.Table) -> pa.Table:
    """Add the light input columns to rejected rows, so that the reject file shows them."""
    if REJECT_REASON not in result.column_names or result[REJECT_REASON].null_count == result.num_rows:
        return result
    where = pc.index_in(result[SAMPLE_ID], batch[SAMPLE_ID])
    for name in batch.column_names:
        if name not in result.column_names and not COLUMNS[name].bulk:
            result = result.append_column(batch.schema.field(name), batch[name].take(where))
    return result


def run_sink(step: Step) -> Record:
    """Run a sink stage on one shard: it writes its own file next to the row file."""
    planned, name = step.planned, step.task.shard
    assert isinstance(planned.stage, SinkStage)
    function, ctx = step.open()
    ctx.notes.clear()
    rows = step.rows(name)
    with ShardOutput(step, name) as out:
        out.rows_in = len(rows)  # so that the check of row counts finds batches that the sink drops
        sent: deque[tuple[pa.Table, int]] = deque()
        quarantine = _quarantine(step, out, rows)

        def batches() -> Iterator[pa.Table]:
            first = 0
            for batch in rows.batches(_rows_per_batch(step)):
                for piece, start in quarantine.pieces(batch, first):
                    sent.append((piece.select([n for n in piece.column_names if not COLUMNS[n].bulk]), start))
                    yield piece
                first += batch.num_rows

        shard = SinkShard(
            name=name, number=step.plan.shard_numbers[name], num_shards=len(step.plan.shards),
            file=out.add_file(planned.stage.suffix), further_file=out.add_file, summary={},
        )  # fmt: skip
        for result in function(shard, batches()):
            if not sent:
                raise ContractError(f"stage {planned.name}: returned more tables than it was given")
            given, start = sent.popleft()
            quarantine.finished(start, given.num_rows)
            out.write(_with_given(check_mapped(planned, given[SAMPLE_ID].to_pylist(), result), given))
        out.summarise(shard.summary)
        return out.finish(dict(ctx.notes))


def _with_given(result: pa.Table, given: pa.Table) -> pa.Table:
    """The rows that a sink returned, with all columns that it was given."""
    returned = set(result.column_names)
    for field in given.schema:
        if field.name not in returned:
            result = result.append_column(field, given[field.name])
    return result
