"""Builds a plan with a quota: portions of the input up to the quota's stage, then the whole chain on the last one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.build.quota import QuotaResult, next_portion, note_portion, portion_of, quota_stage
from pipeline.plan.steps import steps
from pipeline.stage import QuotaStage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.build.result import BuildResult
    from pipeline.plan.plan import Plan
    from pipeline.store.storage import Storage


def build_portions(plan: Plan, storage: Storage, run_once: Callable[[Plan], BuildResult]) -> BuildResult:
    """Call `run_once` on the plan, or, with a quota, on portions until it is met, and then on the whole chain.

    Returns the result of the whole chain, or of the portion that did not become complete or was interrupted.
    """
    quota = quota_stage(plan)
    if quota is None:
        return run_once(plan)
    assert isinstance(quota.stage, QuotaStage)
    wanted, size = quota.stage.num_wanted(), portion_of(plan, storage)
    portions: list[BuildResult] = []
    while True:
        note_portion(plan, storage, size)
        portions.append(run_once(plan.first(size).until(quota.index)))
        if portions[-1].interrupted and portions[-1].ok:  # its last step was running: all that follows is left
            return replace(portions[-1], num_left=_num_steps(plan.first(size)) - _num_steps(portions[-1].plan) or 1)
        if not portions[-1].ok:
            return portions[-1]
        kept = portions[-1].tallies[quota.index].rows_out
        following = next_portion(size, kept, wanted, len(plan.shards))
        if following is None:
            break
        size = following
    whole = run_once(plan.first(size))
    _count_as_built(whole, portions)
    rows = whole.tallies[-1].rows_out
    ended = QuotaResult(
        stage=quota.name, wanted=wanted, kept=kept, rows=rows, num_shards=size, num_input_shards=len(plan.shards)
    )
    return replace(whole, quota=ended)


def _num_steps(plan: Plan) -> int:
    return sum(1 for _ in steps(plan))


def _count_as_built(whole: BuildResult, portions: Sequence[BuildResult]) -> None:
    """Count the steps that the portions have built as built by this command, not as done already before it."""
    for portion in portions:
        for tally, earlier in zip(whole.tallies, portion.tallies, strict=False):
            tally.cached = max(0, tally.cached - (earlier.done - earlier.cached))
        whole.elapsed_s += portion.elapsed_s
