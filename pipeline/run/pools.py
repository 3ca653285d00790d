"""Pools of workers: which stages share one, what a worker of it takes, how many a cluster has room for.

Computes from the plan and from what the cluster has. Imports no Ray.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.errors import RunStopped
from pipeline.stage import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.plan.plan import Plan


class Pools:
    """Stages that use a GPU get a pool of their own if the cluster has one at the start, and keep it."""

    def __init__(self, plan: Plan, workers: int | None, resources: Mapping[str, float]) -> None:
        """Fix the pools. Raises `RunStopped` for a stage that needs more GPUs than there are."""
        self._plan, self._workers = plan, workers
        self._num_gpus = float(resources.get("GPU", 0))
        self.names = tuple({self.of(planned.index): None for planned in plan.stages})
        for pool in self.names:
            needed = self.needs(pool).gpu
            if needed > self._num_gpus:
                raise RunStopped(f"a stage needs {needed:g} GPUs; the cluster has {self._num_gpus:g}")

    def of(self, stage: int) -> str:
        """`gpu` for stages that use one where the cluster has any; `cpu` for all others."""
        return "gpu" if self._num_gpus and self._plan.stages[stage].stage.needs.gpu else "cpu"

    def needs(self, pool: str) -> Needs:
        """What a worker of the pool takes. It keeps the models of all its stages, so shares of a GPU add up to one."""
        planned = [s for s in self._plan.stages if self.of(s.index) == pool]
        served = [s.stage.needs for s in planned]
        shares = [s.run_on.gpu or s.stage.needs.gpu for s in planned] if pool == "gpu" else [0.0]
        return Needs(
            cpu=max(n.cpu for n in served),
            gpu=max(min(1.0, sum(shares)), *shares),
            memory_bytes=max(n.memory_bytes for n in served),
        )

    def sizes(self, resources: Mapping[str, float]) -> dict[str, int]:
        """How many workers a cluster with these resources has room for, by pool."""
        sizes: dict[str, int] = {}
        for pool in self.names:
            needs = self.needs(pool)
            fit = resources.get("GPU", 0) / needs.gpu if needs.gpu else resources.get("CPU", 1) / max(needs.cpu, 1.0)
            size = math.floor(fit)
            if self._workers:
                size = min(size, self._workers) if needs.gpu else self._workers
            sizes[pool] = max(1, min(size, len(self._plan.shards)))
        return sizes
