"""Writes the report and the tables of a finished build again, next to its dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import PlanError, RunStopped
from pipeline.build.verify import wrong_files
from pipeline.run.run_summary import summarise
from pipeline.stage import SinkStage
from pipeline.store.run_folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.plan.plan import Plan
    from pipeline.store.storage import Storage


def write_report(plan: Plan, storage: Storage, to: Path) -> list[Path]:
    """Have the sink write its pages into the local folder `to`. Raises `RunStopped` for an unfinished build."""
    planned = plan.stages[-1]
    if not isinstance(planned.stage, SinkStage):
        raise PlanError(f"manifest {plan.manifest.name!r} does not end in a stage that emits a dataset")
    wrong = wrong_files(plan, storage)
    if wrong:
        raise RunStopped(f"{plan.out} is not a finished build: {wrong[0]}")
    to.mkdir(parents=True, exist_ok=True)
    planned.stage.collate(to, summarise(plan, RunFolder(storage)))
    storage.close()
    return sorted(p for p in to.iterdir() if p.is_file())
