"""The steps of a plan: how the work of each stage is cut into steps, and the digest of a step's input.

A stage has one or more phases, one after the other; the steps of one phase may run side by side. Which phase may start
when is decided in `pipeline.build.schedule`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from pipeline.plan.fingerprint import canonical
from pipeline.stage import GlobalStage, PartitionedStage, SinkStage
from pipeline.store.records import ALL_SHARDS, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.plan.plan import Plan, PlannedStage
    from pipeline.rounds import Over

Key = tuple[int, str]
"""Stage index and shard name, ALL_SHARDS for a step over all shards, or the name of a step of a round."""

ROWS_OF_ONE_PART = 4096
"""Rows from which a stage works in several parts. Parts and rows a part both grow with the root of the rows."""
MOST_PARTS = 1 << 16
"""More would be needed from 10^13 rows on; counts in records may be wrong."""
MOST_SHARDS_PER_GROUP, FEWEST_SHARDS_PER_GROUP, USUAL_GROUPS = 64, 4, 8
"""Bounds on the shards of one step, and the number of steps that a few shards are cut into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One phase of a stage: a step a shard, one step over all shards, or one round of a partitioned stage."""

    kind: Literal["shards", "all", "round"]
    number: int = 0
    """Of the round."""
    over: Over = "shards"
    """With `round`: what its steps go over."""
    is_last: bool = False
    """With `round`: true for the round that gives the verdicts."""


def phases(planned: PlannedStage) -> tuple[Phase, ...]:
    """The phases of a stage, in order."""
    stage = planned.stage
    if isinstance(stage, GlobalStage):
        return (Phase(kind="all"),)
    rounds = tuple(Phase(kind="round", number=n, over=over) for n, over in enumerate(planned.rounds_over))
    if isinstance(stage, PartitionedStage):
        return (*rounds, Phase(kind="round", number=len(rounds), is_last=True))
    last = (Phase(kind="all"),) if isinstance(stage, SinkStage) else ()
    return (*rounds, Phase(kind="shards"), *last)


class Outputs(Protocol):
    """The output digest of each step that is done."""

    def __getitem__(self, key: Key, /) -> str:
        """The digest. Raises `KeyError` for a step that is not done."""


class DoneOutputs:
    """Output digest and rows of the steps that are done, in 41 bytes for each stage and shard."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        num_shards = len(plan.shards)
        self._digests = [np.zeros((num_shards, 32), np.uint8) for _ in plan.stages]
        self._is_done = [np.zeros(num_shards, np.bool_) for _ in plan.stages]
        self._rows = [np.zeros(num_shards, np.int64) for _ in plan.stages]
        self._others: dict[Key, str] = {}

    def note(self, key: Key, output_digest: str, rows_out: int) -> None:
        """Note that a step is done."""
        number = self._plan.shard_numbers.get(key[1])
        if number is None:
            self._others[key] = output_digest
            return
        self._digests[key[0]][number] = np.frombuffer(bytes.fromhex(output_digest), np.uint8)
        self._rows[key[0]][number] = rows_out
        self._is_done[key[0]][number] = True

    def __getitem__(self, key: Key, /) -> str:
        number = self._plan.shard_numbers.get(key[1])
        if number is None:
            return self._others[key]
        if not self._is_done[key[0]][number]:
            raise KeyError(key)
        return bytes(self._digests[key[0]][number]).hex()

    def __contains__(self, key: Key) -> bool:
        number = self._plan.shard_numbers.get(key[1])
        return key in self._others if number is None else bool(self._is_done[key[0]][number])

    def rows(self, stage: int) -> NDArray[np.int64]:
        """Rows (S,) that the stage left of each shard, 0 where it is not done."""
        return self._rows[stage]


def steps(plan: Plan) -> Iterator[Key]:
    """Every step that leaves rows or a result: a stage on a shard, a global stage once, a sink's last step once."""
    for stage in plan.stages:
        if not isinstance(stage.stage, GlobalStage):
            for shard in plan.shards:
                yield stage.index, shard.name
        if isinstance(stage.stage, GlobalStage | SinkStage):
            yield stage.index, ALL_SHARDS


def round_step(number: int, index: int) -> str:
    """Name of a step of a round, under which it is recorded; no shard has such a name."""
    return f"_{number}-{index:05d}"


def num_parts(rows: int) -> int:
    """Number of parts that `rows` rows are cut into: 1 up to 4,096 rows, 16 for a million, 495 for 10^9."""
    return min(MOST_PARTS, max(1, math.ceil(math.sqrt(rows / ROWS_OF_ONE_PART))))


def groups(num_shards: int, parts: int) -> list[tuple[int, int]]:
    """Shards in groups for the steps of a round: (number of the first shard, number after the last)."""
    wanted = max(
        parts,
        math.ceil(num_shards / MOST_SHARDS_PER_GROUP),
        min(USUAL_GROUPS, math.ceil(num_shards / FEWEST_SHARDS_PER_GROUP)),
    )
    count = max(1, min(wanted, num_shards))
    edges = [num_shards * i // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


def input_digest(plan: Plan, key: Key, outputs: Outputs, rounds: str = "") -> str:
    """Hash of the input of a step. `outputs` has the output digest of every step done before it.

    `rounds` is the digest of the rounds before a step on a shard, for a stage that gathers rows. Such a step may read
    rows of any shard, so it is done again where one of them has changed.
    """
    index, shard = key
    stage = plan.stages[index]
    if index == 0:
        source = plan.shard(shard)
        return digest([source.identity, str(source.part), str(plan.row_limit)])
    if shard in plan.shard_numbers and not isinstance(stage.stage, PartitionedStage):
        return digest([*_shard_inputs(stage, shard, outputs), *filter(None, [rounds])])
    if isinstance(stage.stage, SinkStage):
        about = canonical(
            plan.manifest.model_dump(include={"name", "summary", "license", "language", "stated_licences"})
        )
        licences = canonical(
            [[{name: model.licence for name, model in s.models.items()}, s.stage.model_roles()] for s in plan.stages]
        )
        return digest([about, licences, *(f"{k} {outputs[k]}" for k in _with_output(plan, index))])
    return whole_digest(plan, stage, outputs)


def whole_digest(plan: Plan, stage: PlannedStage, outputs: Outputs) -> str:
    """Hash of what a stage reads of all shards: for the rounds of one that gathers rows, of what it gathers from."""
    if stage.gathered:
        found = stage.located
        return digest(part for s in plan.shards for part in (s.name, *(f"{i} {outputs[i, s.name]}" for i in found)))
    return digest(part for s in plan.shards for part in (s.name, *_shard_inputs(stage, s.name, outputs)))


def _with_output(plan: Plan, last: int) -> Iterator[Key]:
    """The steps before a sink's last step whose output describes their stage."""
    for stage in plan.stages[: last + 1]:
        if stage.has_rows:
            yield from ((stage.index, s.name) for s in plan.shards)
        else:
            yield stage.index, ALL_SHARDS


def _shard_inputs(stage: PlannedStage, shard: str, outputs: Outputs) -> list[str]:
    read = sorted({stage.upstream, *stage.providers.values()})
    return [*(f"{i} {outputs[i, shard]}" for i in read), *(outputs[i, ALL_SHARDS] for i in stage.artifacts.values())]
