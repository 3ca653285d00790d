"""Row counts of one stage: the sums over its records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.store.records import Record


@dataclass(kw_only=True)
class RowCounts:
    """Sums of rows, rejects, notes and seconds over records. The fields are those of `Record`."""

    rows_in: int = 0
    rows_kept: int = 0
    rows_out: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, record: Record) -> None:
        """Add the counts of one record."""
        self.rows_in += record.rows_in
        self.rows_kept += record.rows_kept
        self.rows_out += record.rows_out
        self.rejects.update(record.rejects)
        self.notes.update(record.notes)
        self.seconds += record.duration_s

    def plain_rows(self) -> dict[str, Any]:
        """Rows and rejects as plain data, rejects in the order of their names."""
        return {
            "rows_in": self.rows_in, "rows_kept": self.rows_kept, "rows_out": self.rows_out,
            "rejects": dict(sorted(self.rejects.items())),
        }  # fmt: skip
