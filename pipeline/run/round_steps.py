"""Steps of rounds: a part of a stage's rows in, rows for later rounds out; in the last round verdicts on shards.

`pipeline.rounds` has what a stage declares; which step runs when is decided in `pipeline.build.schedule`.
"""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from core.errors import ContractError
from pipeline.rounds import RoundInput, Rounds
from pipeline.run.exchange import Inbox, Outbox
from pipeline.run.global_steps import write_verdict
from pipeline.run.locate import send_places, sort_places
from pipeline.run.shard_output import provenance
from pipeline.run.task import run_name
from pipeline.stage import PartitionedStage
from pipeline.store.records import Record, output_digest
from pipeline.store.tables import ROWS_PER_READ, arrow_table
from samples.columns import SAMPLE_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.rounds import Round
    from pipeline.run.step import Step
    from pipeline.run.task import RoundStep
    from pipeline.store.storage import FileEntry


def run_round(step: Step, place: RoundStep) -> tuple[Record, tuple[Record, ...]]:
    """Run one step of a round. Returns its record, and in the last round those of the shards' verdicts."""
    started = time.time()
    notes: Counter[str] = Counter()
    verdicts: tuple[Record, ...] = ()
    files: dict[str, FileEntry] = {}
    if not isinstance(step.planned.stage, PartitionedStage):
        files = (send_places, sort_places)[place.number](step, place, _run_name(step))
    else:
        rounds, ctx = step.open()
        assert isinstance(rounds, Rounds)
        notes = ctx.notes
        notes.clear()
        if place.is_last:
            verdicts = tuple(_verdicts(step, place, rounds))
        else:
            files = _sent(step, place, rounds.rounds[place.number], notes)
    planned = step.planned
    record = Record(
        stage=planned.name, fingerprint=planned.fingerprint, shard=step.task.shard, input_digest=step.task.input_digest,
        output_digest=output_digest(files), rows_in=0, rows_kept=0, rows_out=0,
        notes={k: v for k, v in sorted(notes.items()) if v}, files=files, models=planned.models,
        **provenance(started, step.task.attempt),
    )  # fmt: skip
    return record, verdicts


def _run_name(step: Step) -> str:
    return run_name(step.task.input_digest)


def _destinations(place: RoundStep) -> range:
    """The destinations whose rows the step receives: its part, 0 for a round over all, or its shards."""
    if place.is_last:
        return range(*place.shards)
    return range(place.index, place.index + 1)


def _inbox(step: Step, destinations: range) -> Inbox:
    return Inbox(step.storage, step.planned.folder, _run_name(step), destinations)


def _tables(step: Step, place: RoundStep) -> Iterator[tuple[int, str, pa.Table]]:
    """(number, name, Table of `sample_id` and what the stage reads) of each shard of the group."""

    def table(number: int) -> tuple[int, str, pa.Table]:
        shard = step.plan.shards[number].name
        batches = list(step.rows(shard).batches(ROWS_PER_READ))
        empty = arrow_table([SAMPLE_ID, *step.planned.providers])
        return number, shard, pa.concat_tables(batches) if batches else empty

    for number, shard, rows in step.storage.in_parallel(table, range(*place.shards)):
        step.beat(rows.num_rows)
        yield number, shard, rows


def _sent(step: Step, place: RoundStep, one: Round, notes: Counter[str]) -> dict[str, FileEntry]:
    """Run one step of a round that sends rows. Returns the files with these rows."""
    outbox = Outbox(step.storage, step.planned.folder, _run_name(step), step.task.shard)
    given = RoundInput(
        tables=_tables(step, place) if place.over == "shards" else (),
        received=_inbox(step, _destinations(place)).received, num_parts=place.num_parts, notes=notes,
    )  # fmt: skip
    one.run(given, outbox.send)
    return outbox.write()


def _verdicts(step: Step, place: RoundStep, rounds: Rounds) -> Iterator[Record]:
    inbox = _inbox(step, _destinations(place))
    for number, shard, rows in _tables(step, place):
        verdict = rounds.judge(shard, rows, partial(inbox.received_by, number))
        if verdict.num_rows != rows.num_rows:
            raise ContractError(f"stage {step.planned.name}, shard {shard}: {rows.num_rows} rows in, "
                                f"{verdict.num_rows} verdicts")  # fmt: skip
        yield write_verdict(step, shard, verdict)
