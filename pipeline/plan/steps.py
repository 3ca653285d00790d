"""The steps of a plan: which steps each one needs, and the digest of its input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.plan.fingerprint import canonical
from pipeline.stage import GlobalStage, SinkStage
from pipeline.store.records import ALL_SHARDS, digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.plan.plan import Plan, PlannedStage

Key = tuple[int, str]
"""Stage index and shard name, or ALL_SHARDS for a step over all shards."""


def steps(plan: Plan) -> Iterator[Key]:
    """Every step of the plan: a stage on a shard, a global stage once, a sink's last step once."""
    for stage in plan.stages:
        if not isinstance(stage.stage, GlobalStage):
            for shard in plan.shards:
                yield stage.index, shard.name
        if isinstance(stage.stage, GlobalStage | SinkStage):
            yield stage.index, ALL_SHARDS


def needs_of(plan: Plan, key: Key) -> list[Key]:
    """The steps that must be done before `key`."""
    index, shard = key
    stage = plan.stages[index]
    if shard == ALL_SHARDS and isinstance(stage.stage, SinkStage):
        artifacts = [
            (s.index, ALL_SHARDS) for s in plan.stages if not s.has_rows
        ]  # they are in the report even if no stage uses them
        return [*((index, s.name) for s in plan.shards), *artifacts]
    needs = [(i, ALL_SHARDS) for i in stage.artifacts.values()]
    if stage.upstream >= 0:
        above = plan.stages[stage.upstream]
        if isinstance(above.stage, GlobalStage):
            needs.append((above.index, ALL_SHARDS))
        elif shard == ALL_SHARDS:
            needs.extend((above.index, s.name) for s in plan.shards)
        else:
            needs.append((above.index, shard))
    return needs


def input_digest(plan: Plan, key: Key, outputs: Mapping[Key, str]) -> str:
    """Hash of the input of a step. `outputs` has the output digest of every step done before it."""
    index, shard = key
    stage = plan.stages[index]
    if index == 0:
        source = plan.shard(shard)
        return digest([source.identity, str(source.part), str(plan.row_limit)])
    if shard != ALL_SHARDS:
        return digest(_shard_inputs(stage, shard, outputs))
    if isinstance(stage.stage, SinkStage):
        about = canonical(plan.manifest.model_dump(include={"name", "summary", "license", "language"}))
        return digest([about, *(f"{k} {outputs[k]}" for k in sorted(outputs) if k != key)])
    return digest(
        part for s in plan.shards for part in (s.name, *_shard_inputs(stage, s.name, outputs))
    )  # fmt: skip


def _shard_inputs(stage: PlannedStage, shard: str, outputs: Mapping[Key, str]) -> list[str]:
    read = sorted({stage.upstream, *stage.providers.values()})
    return [*(f"{i} {outputs[i, shard]}" for i in read), *(outputs[i, ALL_SHARDS] for i in stage.artifacts.values())]
