"""Counts the requests that plan, build, status and verify make on an object store, and finds what is serial in shards.

Each figure is what a further shard costs: the difference between two builds of different numbers of shards, divided by
the shards between them. The executor is the one in this process, so all requests are seen; steps run one after the
other here, and side by side on a cluster.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scale.slow_store import SlowStore, register
from pipeline.build.build import Build
from pipeline.build.plan_file import write_plan
from pipeline.build.status import status
from pipeline.build.verify import verify
from pipeline.plan.manifest import load_manifest
from pipeline.plan.plan import make_plan
from pipeline.run.inprocess import InProcessExecutor
from pipeline.store.storage import Storage

MANIFEST = Path(__file__).with_name("manifest.toml")
OUT = "slow://out"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Requests and seconds of one command, or of one kind of step."""

    requests: float
    seconds: float


def fill(shards: list[Path]) -> None:
    """Put the shards into an empty store, as `slow://in/`."""
    register()
    SlowStore.delay_s = 0.0
    SlowStore.objects.clear()
    for path in shards:
        SlowStore.objects[f"in/{path.name}"] = path.read_bytes()


def costs(shards: list[Path], delay_s: float) -> dict[str, Cost]:
    """Costs of plan, build, a build that finds nothing to do, status and verify, and of each step over all shards."""
    fill(shards)
    found: dict[str, Cost] = {}
    SlowStore.delay_s = delay_s

    def measured(name: str, function: Any) -> Any:
        SlowStore.requests.clear()
        began = time.monotonic()
        result = function()
        found[name] = Cost(requests=SlowStore.requests.total(), seconds=time.monotonic() - began)
        return result

    plan = measured("plan", lambda: make_plan(load_manifest(str(MANIFEST)), OUT, ["slow://in"]))
    alone: dict[str, float] = {}
    started: dict[tuple[str, str], float] = {}

    def on_event(event: str, fields: dict[str, object]) -> None:
        key = str(fields.get("stage")), str(fields.get("shard"))
        if event == "started":
            started[key] = time.monotonic()
        if event == "done" and key[1] not in plan.shard_numbers:
            name = f"{key[0]} {key[1].partition('-')[0]}"
            alone[name] = max(alone.get(name, 0.0), time.monotonic() - started[key])

    def build() -> Any:
        storage = Storage(OUT)
        write_plan(plan, storage)
        result = Build(plan, storage, InProcessExecutor(storage), on_event).run()
        storage.close()
        assert result.ok, result
        return result

    measured("build", build)
    found |= {f"longest step {name}": Cost(requests=0, seconds=seconds) for name, seconds in alone.items()}
    alone.clear()
    measured("build again", build)
    measured("status", lambda: status(plan, Storage(OUT)))
    wrong = measured("verify", lambda: verify(plan, Storage(OUT), deep=False))
    if wrong:
        raise SystemExit(f"verify: {wrong[0]}")
    return found


def per_shard(few: dict[str, Cost], many: dict[str, Cost], further: int) -> dict[str, Cost]:
    """The costs of one further shard."""
    return {
        name: Cost(
            requests=(many[name].requests - few[name].requests) / further,
            seconds=(many[name].seconds - few[name].seconds) / further,
        )
        for name in few
        if name in many
    }
