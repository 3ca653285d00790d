"""The shards that a build with a quota takes: a portion of the input that grows until the quota is met.

A quota is the number of rows that a `QuotaStage` keeps. The build runs the stages up to that one on the first shards of
the input. While they keep too few rows, it runs them on more: the stages before it may compare rows of all shards, so
each portion is built as if it were the whole input, and steps that are the same as before are not done again. The
sizes of portions follow from row counts alone. So the rows are the same for any number of workers, and after any kill.
Owns the sizes and `run/quota.json`. Does not run anything: `pipeline.build.portions` does.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.strict_json import Count, State
from pipeline.stage import QuotaStage
from pipeline.store.records import digest

if TYPE_CHECKING:
    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.store.storage import Storage

QUOTA = "run/quota.json"
"""The portion that is built now, or was built last."""
FIRST_SHARDS = 1
"""Shards of the first portion: one shard may have more rows than are wanted."""
LEAST_GROWTH, MOST_GROWTH = 1.5, 8.0
"""Bounds on how much larger the next portion is: few portions, and not much more than is needed."""
MARGIN = 1.1
"""The next portion is so much larger than the rows so far say that it must be, as later shards may keep fewer."""


class Portion(State):
    """The size of the portion, for one plan."""

    key: str
    """Hash of the stages and the input. Of another plan the size says nothing."""
    shards: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class QuotaResult:
    """How a build with a quota ended."""

    stage: str
    wanted: int
    kept: int
    """Rows that the stage kept."""
    rows: int
    """Rows in the dataset: fewer where a later stage failed on a row."""
    num_shards: int
    """Shards that were read."""
    num_input_shards: int

    @property
    def is_met(self) -> bool:
        """True when the stage kept all that are wanted; else the input had no more."""
        return self.kept >= self.wanted


def quota_stage(plan: Plan) -> PlannedStage | None:
    """The stage of the chain that keeps a number of rows, if any."""
    return next((planned for planned in plan.stages if isinstance(planned.stage, QuotaStage)), None)


def within_quota(plan: Plan, storage: Storage) -> Plan:
    """The plan of the portion that the run folder is built from. Without a quota, the plan itself."""
    return plan if quota_stage(plan) is None else plan.first(portion_of(plan, storage))


def portion_of(plan: Plan, storage: Storage) -> int:
    """Shards of the portion that is in the run folder, or of the first one."""
    found = storage.read_state(QUOTA, Portion)
    size = found.shards if found is not None and found.key == _key(plan) else FIRST_SHARDS
    return max(1, min(size, len(plan.shards)))


def note_portion(plan: Plan, storage: Storage, num_shards: int) -> None:
    """Write down the portion, before anything of it is built."""
    content = Portion(key=_key(plan), shards=num_shards).model_dump()
    storage.write_bytes(QUOTA, json.dumps(content).encode())


def next_portion(num_shards: int, rows: int, wanted: int, num_input_shards: int) -> int | None:
    """Shards of the next portion, where `num_shards` of them kept `rows` rows. None: the quota is met, or all are read.

    A product of floats and `ceil` on small numbers: the same on every machine.
    """
    if rows >= wanted or num_shards >= num_input_shards:
        return None
    growth = min(MOST_GROWTH, max(LEAST_GROWTH, MARGIN * wanted / max(1, rows)))
    return min(num_input_shards, max(num_shards + 1, math.ceil(num_shards * growth)))


def _key(plan: Plan) -> str:
    quota = quota_stage(plan)
    assert quota is not None
    return digest([quota.fingerprint, *(f"{shard.name} {shard.identity} {shard.part}" for shard in plan.shards)])
