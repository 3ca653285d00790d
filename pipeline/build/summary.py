"""The summary of a finished build, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.build.funnel import few_left, why_empty
from pipeline.stage import SinkStage
from pipeline.store.run_folder import DATASET

if TYPE_CHECKING:
    from pipeline.build.quota import QuotaResult
    from pipeline.build.result import BuildResult, StageTally


def build_summary(result: BuildResult) -> dict[str, Any]:
    """The result of a build as plain data, for people and for `--json`."""
    plan = result.plan
    stages = [
        {
            "stage": tally.stage, "done": tally.done, "total": tally.total, "cached": tally.cached,
            "failed": tally.failed, **tally.plain_rows(), "notes": dict(sorted(tally.notes.items())),
            "worker_s": round(tally.seconds, 2),
        }
        for tally in result.tallies
    ]  # fmt: skip
    failures = [
        {"stage": plan.stages[index].name, "shard": shard, "cause": message}
        for (index, shard), message in sorted(result.failures.items())
    ]
    empty = why_empty(result.tallies) if result.ok else None
    ends_in_dataset = isinstance(plan.stages[-1].stage, SinkStage)
    return {
        "ok": result.ok and (not empty or plan.manifest.allow_empty),
        "empty": empty,
        "few_left": few_left(_losing(result)) if result.ok and not empty else None,
        "shards_without_rows": result.shards_without_rows if result.ok and not empty and not result.quota else [],
        "num_shards": len(plan.shards),
        "manifest": plan.manifest.name,
        "out": plan.out,
        "dataset": f"{plan.out.rstrip('/')}/{DATASET}" if result.ok and ends_in_dataset else None,
        "nothing_to_do": result.ok and all(tally.cached == tally.total for tally in result.tallies),
        "interrupted": result.interrupted,
        "stopped": result.stopped,
        "failures": failures,
        "steps_left": result.num_left,
        "stages": stages,
        "elapsed_s": round(result.elapsed_s, 2),
        "quota": _quota(result.quota) if result.quota and result.ok else None,
    }


def _losing(result: BuildResult) -> list[StageTally]:
    """The tallies without the stage of the quota, whose rejects are no loss: they are more than was asked for."""
    return [tally for tally in result.tallies if result.quota is None or tally.stage != result.quota.stage]


def _quota(quota: QuotaResult) -> dict[str, Any]:
    return {
        "stage": quota.stage, "target_rows": quota.wanted, "kept": quota.kept, "rows": quota.rows,
        "is_met": quota.is_met, "shards_read": quota.num_shards, "shards_of_input": quota.num_input_shards,
    }  # fmt: skip
