"""Pools of workers: which stages share a pool, and how many workers fit into a cluster. Imports no Ray."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from core.errors import RunStopped
from pipeline.stage import Needs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.plan.plan import Plan


START_TIMEOUT_S = 300.0
"""Longest wait for the first worker of a pool."""
SAY_EVERY_S = 15.0
"""Time between messages about a pool without workers."""


class Pools:
    """The pools of one run: stages that use a GPU have their own if the cluster has one."""

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
        """The pool `gpu` for stages that use one where the cluster has any, and `cpu` for all others."""
        return "gpu" if self._num_gpus and self._plan.stages[stage].stage.needs.gpu else "cpu"

    def needs(self, pool: str) -> Needs:
        """The resources of one worker. It keeps the models of all its stages, so their GPU shares add up."""
        planned = [s for s in self._plan.stages if self.of(s.index) == pool]
        served = [s.stage.needs for s in planned]
        shares = [s.run_on.gpu or s.stage.needs.gpu for s in planned] if pool == "gpu" else [0.0]
        return Needs(
            cpu=max(n.cpu for n in served),
            gpu=max(min(1.0, sum(shares)), *shares),
            memory_bytes=max(n.memory_bytes for n in served),
        )

    def sizes(self, resources: Mapping[str, float]) -> dict[str, int]:
        """Number of workers by pool that a cluster with these resources has room for."""
        sizes: dict[str, int] = {}
        for pool in self.names:
            needs = self.needs(pool)
            fit = resources.get("GPU", 0) / needs.gpu if needs.gpu else resources.get("CPU", 1) / max(needs.cpu, 1.0)
            size = math.floor(fit)
            if self._workers:
                size = min(size, self._workers) if needs.gpu else self._workers
            sizes[pool] = max(1, min(size, len(self._plan.shards)))
        return sizes


class PoolWaits:
    """How long each pool has had no worker ready."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self._since: dict[str, float] = {}

    def note(self, pool: str, now: float, *, is_served: bool) -> None:
        """Note whether the pool has a worker ready. Raises `RunStopped` after `START_TIMEOUT_S` without one."""
        if is_served:
            self._since[pool] = now
        elif now - self._since.setdefault(pool, now) > START_TIMEOUT_S:
            raise RunStopped(
                f"no Ray worker of pool {pool!r} started within {START_TIMEOUT_S:.0f} s: "
                "the cluster has no room for one"
            )

    def message(self, now: float) -> str:
        """One line, new every `SAY_EVERY_S`, about a pool that has had no worker for so long, or empty."""
        for pool, since in self._since.items():
            times = int((now - since) / SAY_EVERY_S)
            if times:
                needs = self._pools.needs(pool)
                return (
                    f"no Ray worker of pool {pool!r} started for {times * SAY_EVERY_S:.0f} s: one needs {needs.cpu:g} "
                    f"cores, {needs.gpu:g} GPUs; the build waits up to {START_TIMEOUT_S:.0f} s for room"
                )
        return ""
