"""The plan: the chain of a manifest, type-checked, with fingerprints and shards, before any work.

Owns the checks that need no data: every column read is written upstream, every artifact, model and package is
there, every input exists. Estimates live in `pipeline.build.probe`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from core.errors import MissingDependencyError, PlanError, nearest
from core.locations import lies_in
from core.missing import missing_package, refusal
from pipeline.plan.fingerprint import fingerprint, stage_folder
from pipeline.plan.plugins import model_licence, model_missing, model_refusal, model_revision, packages_missing
from pipeline.stage import GlobalStage, PartitionedStage, QuotaStage, SinkStage, SourceStage
from pipeline.store.records import ModelEntry
from samples.columns import PARENT_ID, column

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from core.missing import Missing
    from pipeline.plan.manifest import Manifest, StageRunOn
    from pipeline.rounds import Over
    from pipeline.stage import Shard, Stage

LOCATE_ROUNDS: tuple[Over, ...] = ("shards", "parts")
"""Rounds of `pipeline.run.locate`, before the first step of a stage that gathers rows by id."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedStage:
    """One stage at its place in the chain. It gets the rows of the stage with index `upstream` (-1: none)."""

    index: int
    name: str
    stage: Stage
    fingerprint: str
    folder: str
    upstream: int
    providers: dict[str, int]
    """Column read -> index of the stage that wrote it last."""
    gathered: dict[str, int]
    """Column gathered by id from any shard -> index of the stage that wrote it last."""
    gathered_through: tuple[int, ...]
    """Indices of the expand stages by which the ids of gathered rows lead to those of their parents."""
    artifacts: dict[str, int]
    """Artifact used -> index of the global stage that builds it."""
    models: dict[str, ModelEntry]
    """Model used -> its revision and licence."""
    run_on: StageRunOn

    @property
    def has_rows(self) -> bool:
        """True when it leaves a row file a shard, so that later stages take their rows from it."""
        return not (isinstance(self.stage, GlobalStage) and not self.stage.gives_verdicts)

    @property
    def rounds_over(self) -> tuple[Over, ...]:
        """What the steps of each round go over that comes before its shards: those that find ids, for a gather too."""
        if isinstance(self.stage, PartitionedStage):
            return self.stage.rounds_over()
        return LOCATE_ROUNDS if self.gathered else ()

    @property
    def located(self) -> tuple[int, ...]:
        """Indices of the stages whose rows it finds by their ids, in order."""
        return tuple(sorted({*self.gathered.values(), *self.gathered_through}))

    @property
    def stored_columns(self) -> tuple[str, ...]:
        """The columns in its Parquet files, keys excluded: what it writes, less what is virtual."""
        return tuple(name for name in self.stage.writes if not column(name).virtual)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything a worker needs to know, picklable: the chain, the shards and where the run lives."""

    manifest: Manifest
    out: str
    stages: tuple[PlannedStage, ...]
    shards: tuple[Shard, ...]
    row_limit: int | None = None
    """Read at most so many rows of a shard: only for measuring on a sample."""
    is_limited: bool = False
    """True when --limit left shards out."""
    shard_numbers: dict[str, int] = field(init=False, repr=False, compare=False)
    """Shard name -> its place in `shards`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shard_numbers", {shard.name: i for i, shard in enumerate(self.shards)})

    def shard(self, name: str) -> Shard:
        """The shard of that name."""
        return self.shards[self.shard_numbers[name]]

    def first(self, num_shards: int) -> Plan:
        """The plan of the first shards alone."""
        return replace(self, shards=self.shards[:num_shards])

    def until(self, index: int) -> Plan:
        """The plan of the stages up to this one, which included."""
        return replace(self, stages=self.stages[: index + 1])

    @property
    def num_input_bytes(self) -> int:
        """Bytes of all input shards together."""
        return sum(s.num_bytes for s in self.shards)


def make_plan(
    manifest: Manifest, out: str, inputs: Sequence[str] | None = None, *, only: str | None = None,
    limit: int | None = None,
) -> Plan:  # fmt: skip
    """Check the chain and list the shards. `only` ends the chain after that stage. `limit` keeps so many shards.

    Raises `PlanError` for what the user wrote, `MissingDependencyError` for what this machine lacks.
    """
    stages = plan_stages(manifest, only)
    source = stages[0].stage
    assert isinstance(source, SourceStage)
    given = [text for text in inputs or ([manifest.shards] if manifest.shards else []) if text]
    if not given:
        raise PlanError(f"manifest {manifest.name!r} names no shards; give --shards (make: SHARDS=…)")
    listed = sorted(source.list_shards(given), key=lambda s: s.name)
    shards = tuple(listed[:limit])
    if not shards:
        raise PlanError(f"no shards to read in {', '.join(given)}")
    for uri in dict.fromkeys(shard.uri for shard in shards):
        if lies_in(uri, out):
            raise PlanError(
                f"shard {uri!r} lies in the run folder {out!r}, whose files are no input; give another --out"
            )
    return Plan(manifest=manifest, out=out, stages=stages, shards=shards, is_limited=len(shards) < len(listed))


def plan_stages(manifest: Manifest, only: str | None = None) -> tuple[PlannedStage, ...]:
    """The chain with columns resolved and fingerprints computed. No input is read.

    Raises `PlanError` for a chain that does not fit, else `MissingDependencyError` for all that this machine lacks.
    """
    entries = manifest.stages
    if only is not None:
        names = [e.name for e in entries]
        if only not in names:
            raise PlanError(f"--only {only!r} is not a stage of {manifest.name!r}{nearest(only, names)}")
        entries = entries[: names.index(only) + 1]
    planned: list[PlannedStage] = []
    lacks: list[tuple[str, Missing]] = []
    for entry in entries:
        _check_place(entry.name, entry.stage, planned)
        _check_models(entry.name, entry.stage)
        lacks += [(entry.name, lack) for lack in _lacks(entry.stage)]
        models = {} if lacks else {
            m: ModelEntry(revision=model_revision(m), licence=model_licence(m, protocol))
            for m, protocol in _served(entry.stage)
        }  # fmt: skip
        artifacts = _resolve_artifacts(entry.name, entry.stage, planned)
        gathered = _resolve_gathered(entry.name, entry.stage, planned)
        upstream = next((p.index for p in reversed(planned) if p.has_rows), -1)
        print_ = fingerprint(
            entry.name,
            entry.stage,
            revisions={name: model.revision for name, model in models.items()},
            seed=manifest.seed,
            upstream=planned[upstream].fingerprint if upstream >= 0 else "",
            artifacts=[planned[i].fingerprint for i in artifacts.values()],
        )
        planned.append(
            PlannedStage(
                index=len(planned), name=entry.name, stage=entry.stage, fingerprint=print_,
                folder=stage_folder(entry.name, print_), upstream=upstream,
                providers=_resolve_columns(entry.name, entry.stage, planned), artifacts=artifacts,
                gathered=gathered, gathered_through=_expands_after(gathered, entry.stage, planned), models=models,
                run_on=entry.run_on,
            )
        )  # fmt: skip
    if lacks:  # reported last: what is wrong with the chain itself should not wait for a download
        raise MissingDependencyError(refusal(lacks, manifest.path or "MANIFEST"))
    return tuple(planned)


def _check_place(name: str, stage: Stage, before: list[PlannedStage]) -> None:
    if isinstance(stage, SourceStage) != (not before):
        raise PlanError(
            f"stage {name}: a chain starts with a source stage and has no other; got {name} at {len(before) + 1}"
        )
    if before and isinstance(before[-1].stage, SinkStage):
        raise PlanError(f"stage {name} is placed after {before[-1].name}, which ends the chain; move it before")
    if any(p.name == name for p in before):
        raise PlanError(f"stage {name} is twice in the chain; its columns would replace each other")
    quota = next((p.name for p in before if isinstance(p.stage, QuotaStage)), None)
    if quota and (stage.rejects is not None or stage.kind == "expand"):
        raise PlanError(
            f"stage {name} rejects or adds rows, so it cannot be placed after {quota}, which counts them; "
            "move it before"
        )
    for written in stage.writes:
        column(written)


def _check_models(name: str, stage: Stage) -> None:
    """Refuse a model of a kind that cannot serve, as far as the model is on this machine."""
    for setting, protocol in stage.model_settings().items():
        for model in stage.models_of(setting):
            if clause := model_refusal(model, protocol):
                raise PlanError(f"stage {name}: {setting} = {model!r} {clause}; name another model")


def _lacks(stage: Stage) -> Iterator[Missing]:
    """Packages and models that the stage needs and this machine has not."""
    for package in packages_missing(stage.needs.packages):
        yield missing_package(package, f"'.[{stage.needs.extra}]'" if stage.needs.extra else package)
    for model, protocol in _served(stage):
        yield from model_missing(model, protocol)


def _served(stage: Stage) -> list[tuple[str, str]]:
    """(model id, protocol) of each model that the stage uses; no protocol where no setting names the model."""
    settings = stage.model_settings().items()
    marked = [(model, protocol) for setting, protocol in settings for model in stage.models_of(setting)]
    return marked + [(model, "") for model in stage.needs_models() if model not in dict(marked)]


def _resolve_columns(name: str, stage: Stage, before: list[PlannedStage]) -> dict[str, int]:
    providers: dict[str, int] = {}
    written, outdated = _columns_after(before)
    for wanted in (*stage.reads, *stage.needs_columns()):
        if wanted in outdated:
            early, later = (before[index] for index in outdated[wanted])
            moved = f"{name} before" if isinstance(early.stage, SourceStage) else f"{early.name} after"
            raise PlanError(
                f"stage {name} reads column {wanted!r}, which {early.name} wrote of the rows before {later.name} made "
                f"others; place {moved} {later.name}"
            )
        if wanted not in written:
            raise PlanError(
                f"stage {name} reads column {wanted!r}, which no stage before it writes{nearest(wanted, written)}"
            )
        providers[wanted] = written[wanted]
    for wanted in stage.needs_columns():
        writer = before[written[wanted]]
        if wanted in writer.stage.writes_empty():
            raise PlanError(
                f"stage {name} needs values of {wanted!r}, and with its settings stage {writer.name} measures none; "
                f"change those settings, or do not name {wanted!r}"
            )
    return providers | {c: written[c] for c in stage.reads_if_present if c in written}


def _columns_after(stages: list[PlannedStage]) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """(column -> index of its last writer, outdated column -> indices of its writer and of the stage that outdates)."""
    written: dict[str, int] = {}
    outdated: dict[str, tuple[int, int]] = {}
    for planned in stages:
        gone = {name: (writer, planned.index) for name, writer in written.items() if planned.stage.outdates(name)}
        own = (*planned.stage.writes, *([PARENT_ID] if planned.stage.kind == "expand" else ()))
        written = {name: writer for name, writer in written.items() if name not in gone} | dict.fromkeys(
            own, planned.index
        )
        outdated = {name: places for name, places in (outdated | gone).items() if name not in own}
    return written, outdated


def _resolve_gathered(name: str, stage: Stage, before: list[PlannedStage]) -> dict[str, int]:
    """As `_resolve_columns`. All shards of those columns must be there, so a global stage must be between."""
    written = {c: p.index for p in before for c in p.stage.writes if not column(c).virtual}
    if stage.gathers and isinstance(stage, GlobalStage | PartitionedStage):
        raise PlanError(f"stage {name} gathers columns by id, which only stages that work on one shard can do")
    for wanted in stage.gathers:
        if wanted not in written:
            raise PlanError(
                f"stage {name} gathers column {wanted!r}, which no stage before it stores{nearest(wanted, written)}"
            )
        last = max((written[wanted], *_expands_after({wanted: written[wanted]}, stage, before)))
        between = before[last + 1 :]
        waits = {p.index for p in between if isinstance(p.stage, GlobalStage | PartitionedStage) and p.has_rows}
        waits |= {i for p in between for i in p.artifacts.values() if i > last}
        if not waits:
            raise PlanError(
                f"stage {name} gathers {wanted!r} from all shards, and nothing before it waits for all shards; "
                "put it after a global stage, or after one that uses an artifact made of them"
            )
    return {wanted: written[wanted] for wanted in stage.gathers}


def _expands_after(gathered: dict[str, int], stage: Stage, before: list[PlannedStage]) -> tuple[int, ...]:
    """The expand stages between what is gathered and the stage, where it gathers from parents."""
    if not gathered or not stage.gathers_from_parents:
        return ()
    return tuple(p.index for p in before[min(gathered.values()) + 1 :] if p.stage.kind == "expand")


def _resolve_artifacts(name: str, stage: Stage, before: list[PlannedStage]) -> dict[str, int]:
    made = {
        p.stage.artifact.rsplit(".", 1)[0]: p.index
        for p in before
        if isinstance(p.stage, GlobalStage) and p.stage.artifact
    }
    for wanted in stage.needs_artifacts():
        if wanted not in made:
            raise PlanError(
                f"stage {name} uses artifact {wanted!r}, which no stage before it builds{nearest(wanted, made)}"
            )
    return {wanted: made[wanted] for wanted in stage.needs_artifacts()}
