"""Exports one shard, in any process: gives its rows to the format, lists those left out, writes the record."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.format import LeftOut, LeftOutError
from export.rows import read_rows
from export.shard_folder import ShardFolder
from export.state import ExportState, Record, stem_of
from samples.image_limits import ImageProblem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from export.format import Format
    from export.rows import Row
    from export.shard_folder import JsonLines
    from samples.shards import ShardFile, ShardList

LEFT_OUT = "left_out.jsonl"
"""The file that lists the rows that are not in the export."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported, and where to. `key` is `export.state.key_of` of all that decides the bytes."""

    dataset: ShardList
    split: str
    made: Format
    out: Path
    key: str
    columns: tuple[str, ...] = ()
    """Light columns of the dataset."""

    @property
    def state(self) -> ExportState:
        """The state files."""
        return ExportState(self.out, self.key)


def write_shard(export: Export, shard: ShardFile) -> Record:
    """Export a shard and write its record, last. Raises DatasetError for a shard that is not as it was built."""
    folder = ShardFolder(export.out, stem_of(shard), export.columns)
    left_out: Counter[str] = Counter()
    with ExitStack() as stack:
        listed: JsonLines | None = None
        add = stack.enter_context(export.made.open(folder))
        for row in read_rows(export.dataset, shard):
            notes = folder.notes.copy()
            fault = _added(row, add, export.made.required)
            if fault is None:
                folder.num_rows += 1
                continue
            folder.notes = notes  # the format may have counted what it found before the fault
            listed = listed or stack.enter_context(folder.lines(LEFT_OUT))
            listed.add({
                "shard": shard.file, "sample_id": row.sample_id, "reason": fault.reason, "detail": fault.detail
            })  # fmt: skip
            left_out[fault.reason] += 1
    record = Record(
        shard=folder.name,
        sha256=shard.sha256,
        key=export.key,
        rows=folder.num_rows,
        left_out=dict(left_out),
        folders=dict(folder.folders),
        files={name: (export.out / name).stat().st_size for name in sorted(folder.files)},
        pieces=tuple(sorted(folder.pieces)),
        notes=dict(folder.notes),
    )
    export.state.write(record)
    return record


def _added(row: Row, add: Callable[[Row], None], required: tuple[str, ...]) -> LeftOutError | None:
    """Write the row, or return why it is left out."""
    lacking = [column for column in required if not row.has(column)]
    if lacking:
        return LeftOutError(LeftOut.LACKS_COLUMN, f"it has no {', '.join(lacking)}")
    try:
        add(row)
    except LeftOutError as fault:
        return fault
    except ImageProblem as problem:
        return LeftOutError(LeftOut.UNREADABLE_IMAGE, str(problem))
    return None
