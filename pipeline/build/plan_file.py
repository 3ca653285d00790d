"""`run/plan.json`: the plan of the latest build, kept in the run folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import Field

from core.errors import PlanError
from core.strict_json import State
from pipeline.store.run_folder import PLAN

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.storage import Storage


class EarlierShard(State):
    """One shard of an earlier plan."""

    name: str


class EarlierPlan(State):
    """The part of the latest build's plan that a later build reads."""

    shards: tuple[EarlierShard, ...] = Field(strict=False)


def plan_record(plan: Plan) -> dict[str, Any]:
    """The plan as plain data, as `run/plan.json` has it."""
    return {
        "manifest": plan.manifest.plain(),
        "stages": [
            {"stage": s.name, "fingerprint": s.fingerprint, "folder": s.folder, "models": _models(s)}
            for s in plan.stages
        ],
        "shards": [{"name": s.name, "uri": s.uri, "identity": s.identity, "part": s.part} for s in plan.shards],
    }


def _models(planned: PlannedStage) -> dict[str, dict[str, str | None]]:
    return {name: model.model_dump() for name, model in planned.models.items()}


def refuse_to_shrink(plan: Plan, storage: Storage) -> None:
    """Raise `PlanError` where a trial run with --limit would replace the dataset of a larger build."""
    earlier = storage.read_state(PLAN, EarlierPlan)
    before = {shard.name for shard in earlier.shards} if earlier is not None else set()
    if plan.is_limited and before > {s.name for s in plan.shards}:
        raise PlanError(
            f"{plan.out} holds a build of {len(before)} shards, which --limit {len(plan.shards)} would replace; "
            "give the trial another --out"
        )


def write_plan(plan: Plan, storage: Storage) -> None:
    """Write the plan into the run folder."""
    storage.write_bytes(PLAN, json.dumps(plan_record(plan), indent=1).encode())
