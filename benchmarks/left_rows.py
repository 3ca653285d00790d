"""Rows that stages left in a run folder, for the benchmarks that measure what a dataset is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import plan_stages
from pipeline.store.tables import BULK_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

REJECTS = ".rejects.parquet"


def stage_folder(out: Path, manifest: Path, name: str) -> Path:
    """The folder of a stage of a manifest in the run folder `out`."""
    return out / next(stage.folder for stage in plan_stages(load_manifest(manifest)) if stage.name == name)


def stage_rows(out: Path, manifest: Path, name: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """As `left_rows`, of a stage of a manifest."""
    return left_rows(stage_folder(out, manifest, name), columns)


def left_rows(folder: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """All rows that a stage left, shard by shard: the named columns, by default its light and bulk ones."""
    rows: list[dict[str, Any]] = []
    for light in sorted(folder.glob("*.parquet")):
        if light.name.endswith((BULK_SUFFIX, REJECTS)):
            continue
        table = _read(light, columns)
        bulk = light.with_name(light.name.removesuffix(".parquet") + BULK_SUFFIX)
        if bulk.exists():
            beside = _read(bulk, columns)
            for name in beside.column_names:
                if name not in table.column_names:
                    table = table.append_column(name, beside[name])
        rows += table.select(columns or table.column_names).to_pylist()
    return rows


def rejected_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows that a stage rejected, shard by shard."""
    return [row for file in sorted(folder.glob(f"*{REJECTS}")) for row in pq.read_table(file).to_pylist()]


def _read(file: Path, columns: Sequence[str] | None) -> pa.Table:
    names = pq.read_schema(file).names
    return pq.read_table(file, columns=[name for name in names if columns is None or name in columns])
