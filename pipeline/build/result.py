"""Counts of a running build and the result of a finished one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.store.row_counts import RowCounts

if TYPE_CHECKING:
    from pipeline.build.quota import QuotaResult
    from pipeline.plan.plan import Plan
    from pipeline.plan.steps import Key


@dataclass(kw_only=True)
class StageTally(RowCounts):
    """Counts of one stage: its steps, and the rows of the steps that are done."""

    stage: str = ""
    total: int = 0
    done: int = 0
    cached: int = 0
    failed: int = 0
    running: int = 0


@dataclass(kw_only=True)
class BuildResult:
    """The end of a build. `ok` is true only when every step of every stage has a record."""

    plan: Plan
    """The plan that was built. With a quota it has only the shards of the last portion."""
    tallies: list[StageTally]
    failures: dict[Key, str]
    stopped: str | None = None
    interrupted: bool = False
    num_left: int = 0
    shards_without_rows: list[str] = field(default_factory=list)
    """Names of the shards of which the last stage kept no row."""
    elapsed_s: float = 0.0
    quota: QuotaResult | None = None
    """How a build with a quota ended, once its rows are counted."""

    @property
    def ok(self) -> bool:
        """True when the dataset is complete."""
        return not self.failures and self.stopped is None and self.num_left == 0
