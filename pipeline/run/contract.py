"""Checks the contract of stages: every input row comes out, in order, with columns of the declared types."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from core.errors import ContractError
from samples.columns import PARENT_ID, REJECT_REASON, SAMPLE_ID, column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.plan.plan import PlannedStage


def check_columns(stage: PlannedStage, rows: pa.Table) -> pa.Table:
    """The rows with all columns the stage writes, cast to their declared types. Raises `ContractError`."""
    wanted = [SAMPLE_ID, *([PARENT_ID] if stage.stage.kind == "expand" else []), *stage.stage.writes]
    for name in wanted:
        if name not in rows.column_names:
            raise ContractError(f"stage {stage.name}: column {name!r} is declared in `writes` and was not returned")
        declared = column(name).type
        if rows.schema.field(name).type != declared:
            try:
                cast = rows[name].cast(declared)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise ContractError(f"stage {stage.name}: column {name!r} is not {declared}: {error}") from None
            rows = rows.set_column(rows.column_names.index(name), name, cast)
    return rows


def check_mapped(stage: PlannedStage, ids: Sequence[str], rows: pa.Table) -> pa.Table:
    """Check rows of a map, global or sink stage: the same ids in the same order."""
    got = rows[SAMPLE_ID].to_pylist() if SAMPLE_ID in rows.column_names else None
    if got != list(ids):
        count = "no sample_id column" if got is None else f"{len(got)} rows"
        raise ContractError(f"stage {stage.name}: {len(ids)} rows went in, {count} came out, or in another order")
    return check_columns(stage, rows)


def check_expanded(stage: PlannedStage, ids: Sequence[str], rows: pa.Table) -> pa.Table:
    """Check rows of an expand stage: parents in order, each with children named after it or one rejected row."""
    rows = check_columns(stage, rows)
    reasons = rows[REJECT_REASON].to_pylist() if REJECT_REASON in rows.column_names else [None] * rows.num_rows
    seen: list[str] = []
    children: set[str] = set()
    for own, parent, reason in zip(rows[SAMPLE_ID].to_pylist(), rows[PARENT_ID].to_pylist(), reasons, strict=True):
        origin = own if reason is not None else parent
        if reason is None and (not str(own).startswith(f"{parent}-") or own in children):
            raise ContractError(f"stage {stage.name}: child {own!r} is not named after its parent {parent!r}, or twice")
        children.add(own)
        if not seen or seen[-1] != origin:
            seen.append(origin)
    if seen != list(ids):
        raise ContractError(
            f"stage {stage.name}: {len(ids)} parents went in, {len(seen)} came out, or in another order"
        )
    return rows


def check_source(stage: PlannedStage, rows: pa.Table) -> pa.Table:
    """Check rows of a source stage: all columns it writes, with their types."""
    return check_columns(stage, rows)


def row_schema(stage: PlannedStage) -> pa.Schema:
    """The schema of the stage's row file: keys, then the light columns it stores. A sink also stores those it gets."""
    keys = [SAMPLE_ID, *([PARENT_ID] if stage.stage.kind == "expand" else [])]
    given = [name for name in stage.providers if not column(name).bulk] if stage.stage.kind == "sink" else []
    stored = [name for name in stage.stored_columns if name not in (*keys, *given) and not column(name).bulk]
    return pa.schema([(name, column(name).type) for name in [*keys, *stored, *given]])


def bulk_schema(stage: PlannedStage) -> pa.Schema | None:
    """The schema of the stage's file of bulk columns: `sample_id`, then these. None where it stores none."""
    stored = [name for name in stage.stored_columns if column(name).bulk]
    return pa.schema([(name, column(name).type) for name in [SAMPLE_ID, *stored]]) if stored else None
