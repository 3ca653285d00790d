"""The stage contract: what a stage declares, and what `open` returns for each kind of stage.

A stage is a frozen value: its fields are exactly the settings that decide its result. `open(ctx)` makes its function,
once a worker. Stages know nothing of files, retries, records or executors; the engine adds those.

| kind        | `open` returns                                    | rows                                         |
|-------------|---------------------------------------------------|----------------------------------------------|
| source      | `Shard -> Iterator[Table]`                        | makes rows                                   |
| map         | `Table -> Table`                                  | one to one, in order                         |
| expand      | `Table -> Table`                                  | one to many, parents in order                |
| global      | `ShardTables -> Iterator[(shard name, Table)]`    | a verdict on rows of all shards, an artifact |
| partitioned | `Rounds` (`pipeline.rounds`)                      | a verdict on rows of all shards, in parts    |
| sink        | `(SinkShard, Iterator[Table]) -> Iterator[Table]` | one to one, and a file a shard               |

The function of a map or expand stage may be a `TwoPart`, whose images are decoded beside the forward pass.

No stage drops a row: it sets `reject_reason` (a member of its own `rejects` enum) and optionally `reject_detail`.
An expand rejects a parent with one row under the parent's own `sample_id`. Tables may carry more columns than
`writes`; the engine keeps `sample_id`, `writes` and the reject columns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import pyarrow as pa

from core.licences.uses import Role
from core.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.context import Context
    from pipeline.rounds import Over, Rounds
    from pipeline.sink import PublishedFiles, RunSummary

Kind = Literal["source", "map", "expand", "global", "partitioned", "sink"]
BatchFn = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoPart:
    """The function of a map or expand stage in two parts, of which the engine may run the first ahead of the second.

    `prepare` decodes images and makes them ready for the model, on the CPU. It may run in another thread, before
    earlier rows are finished: it must depend on its table alone, and change nothing. `finish` gets the same table and
    what `prepare` returned, runs the model and returns the result. Calling the value runs both.
    """

    prepare: Callable[[pa.Table], Any]
    finish: Callable[[pa.Table, Any], pa.Table]

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Both parts, one after the other."""
        return self.finish(batch, self.prepare(batch))


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """The resources of one worker of a stage: CPU cores, GPUs (fractions share one), memory, and packages.

    In a cluster without GPUs the stage runs on CPU cores.
    """

    cpu: float = 1.0
    gpu: float = 0.0
    memory_bytes: int = 0
    packages: tuple[str, ...] = ()
    extra: str = ""


MODEL_NEEDS = Needs(gpu=0.25, memory_bytes=1 << 30)
"""Needs of a stage with a model field, where its class has none of its own; a model's packages are the registry's."""


@dataclass(frozen=True, slots=True)
class Serves:
    """Marks a setting as a model id, and names the protocol that the model has to serve.

    `model: Annotated[str, Serves(Captioner)]`; the type of a setting that may be unset is `str | None` in there, that
    of a setting with several ids `tuple[str, ...]`. The mark must not be within another type: a class with such a
    setting is refused.
    """

    protocol: type
    only_scores: bool = False
    """True where nothing that the model makes is in the dataset: its scores measure or choose samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One unit of scheduling and resume: a name unique in the run, and the source of its rows.

    `identity` changes when the input changes (size and modification time, or an entity tag). `num_bytes` is the size of
    the input, for estimates. `part` has the rows of `uri` that belong to the shard, if it has only a part of them.
    """

    name: str
    uri: str
    identity: str
    num_bytes: int = 0
    part: tuple[int, int] | None = None
    begin: int | None = None
    """Byte of `uri` at which the part begins, if the source noted it."""


def _is_marked(part: Any) -> bool:
    """True for a type with a `Serves` within."""
    return isinstance(part, Serves) or any(_is_marked(inner) for inner in get_args(part))


SPEED = "speed"
"""Field of a stage, where it has one, with the settings that only decide speed and patience: not in the fingerprint."""


class Stage(Settings):
    """Base of every stage. Subclasses declare the class attributes below and implement `open`."""

    kind: ClassVar[Kind]
    version: ClassVar[int]
    """Increase it when the same settings give new values."""
    reads: ClassVar[tuple[str, ...]] = ()
    reads_if_present: ClassVar[tuple[str, ...]] = ()
    """Columns that it reads too if an earlier stage wrote them."""
    gathers: ClassVar[tuple[str, ...]] = ()
    """Columns that it fetches by id, of rows of any shard, with `ctx.gather`."""
    gathers_from_parents: ClassVar[bool] = False
    """True when the ids are those that rows have where this stage comes: what was written before an expand is then the
    parent's. False when they are those of the stage that wrote the column."""
    writes: ClassVar[tuple[str, ...]] = ()
    rejects: ClassVar[type[StrEnum] | None] = None
    needs: ClassVar[Needs] = Needs()
    """Without one of its own, a class with a model field has MODEL_NEEDS."""
    uses_rng: ClassVar[bool] = False
    """True when results depend on the manifest's seed."""

    def needs_columns(self) -> tuple[str, ...]:
        """Columns that these settings read in addition to `reads`. A chain in which no stage writes them is refused."""
        return ()

    def writes_empty(self) -> tuple[str, ...]:
        """Columns of `writes` that have no value in any row with these settings. A chain that needs them is refused."""
        return ()

    def outdates(self, name: str) -> bool:  # noqa: ARG002  nothing is outdated unless a stage says so
        """True for a column of earlier stages that is not true of the rows this stage makes. Later stages lack it."""
        return False

    def needs_artifacts(self) -> tuple[str, ...]:
        """Names of artifacts of upstream global stages that these settings use."""
        return ()

    @classmethod
    def __pydantic_init_subclass__(cls, **settings: Any) -> None:
        super().__pydantic_init_subclass__(**settings)
        for name, info in cls.model_fields.items():
            if _is_marked(info.annotation):
                raise TypeError(f"{cls.__name__}.{name}: write Annotated[str | None, Serves(…)], the mark outermost")
        if cls.needs is Stage.needs and cls.model_settings():
            cls.needs = MODEL_NEEDS

    @classmethod
    def model_settings(cls) -> dict[str, str]:
        """Each setting that is a model id -> the name of the protocol that the model has to serve."""
        marks = {
            name: [mark for mark in info.metadata if isinstance(mark, Serves)]
            for name, info in cls.model_fields.items()
        }
        return {name: found[0].protocol.__name__ for name, found in marks.items() if found}

    def models_of(self, setting: str) -> tuple[str, ...]:
        """The model ids in a setting of `model_settings`: none, one, or several."""
        value = getattr(self, setting)
        if value is None:
            return ()
        return value if isinstance(value, tuple) else (value,)

    def needs_models(self) -> tuple[str, ...]:
        """Model ids that these settings use. Their revisions enter the fingerprint."""
        return tuple(dict.fromkeys(model for name in self.model_settings() for model in self.models_of(name)))

    def model_roles(self) -> dict[str, Role]:
        """The role of each model that these settings use. It only scores where every setting that names it says so."""
        makes = {
            model
            for name, info in type(self).model_fields.items()
            if any(isinstance(mark, Serves) and not mark.only_scores for mark in info.metadata)
            for model in self.models_of(name)
        }
        marked = {model for name in self.model_settings() for model in self.models_of(name)}
        return {
            model: Role.MAKES if model in makes or model not in marked else Role.SCORES for model in self.needs_models()
        }

    @abstractmethod
    def open(self, ctx: Context) -> Any:
        """Load what the stage needs and return its function or rounds (see the table of kinds). Once a worker."""


class SourceStage(Stage):
    """Makes rows from shards of input. `open` returns `Shard -> Iterator[Table]`, which repeats the same rows."""

    kind: ClassVar[Kind] = "source"
    retryable: ClassVar[frozenset[str]] = frozenset()
    """Reject reasons that another try may avoid: for their rows `editloom retry` puts a file `<shard>.retry` into
    `ctx.store`, which the stage removes."""
    final: ClassVar[frozenset[str]] = frozenset()
    """Reject reasons that `editloom retry --all` does not try again."""

    @abstractmethod
    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """The shards of the user's inputs, from listings alone. Raises `PlanError` when there are none."""


class MapStage(Stage):
    """Makes one row from each row, in order. `open` returns `Table -> Table`."""

    kind: ClassVar[Kind] = "map"


class ExpandStage(Stage):
    """Makes any number of rows from each. `open` returns `Table -> Table`, with `parent_id` and parents in order."""

    kind: ClassVar[Kind] = "expand"


ShardTables = Callable[[], Iterable[tuple[str, pa.Table]]]
"""Each call is a pass over (shard name, Table of `sample_id` and `reads`), in the order of shard names."""


class GlobalStage(Stage):
    """Sees light columns of all shards at once. `open` returns `ShardTables -> Iterator[(shard name, Table)]`.

    A stage that only builds an artifact (no `writes`, no `rejects`) yields nothing and keeps all rows.
    """

    kind: ClassVar[Kind] = "global"
    artifact: ClassVar[str] = ""
    """Name of the artifact that it writes into `ctx.artifact_dir`: a file, or (without a dot) a folder of files. Empty
    for none."""

    @property
    def gives_verdicts(self) -> bool:
        """True when it writes columns or rejects rows, so that later stages get its rows."""
        return bool(self.writes) or self.rejects is not None


class PartitionedStage(Stage):
    """Gives verdicts on the rows of all shards in rounds, each step of which holds a part of them. See `Rounds`."""

    kind: ClassVar[Kind] = "partitioned"

    @abstractmethod
    def open(self, ctx: Context) -> Rounds:
        """Return the rounds. Called once a worker, and to plan: it loads nothing heavy."""

    def rounds_over(self) -> tuple[Over, ...]:
        """What the steps of each round go over, in order."""
        from pipeline.context import Context

        return tuple(one.over for one in self.open(Context(stage_name="")).rounds)


class QuotaStage(PartitionedStage):
    """Keeps a number of rows and rejects the rest, so that a build reads no more shards than that number takes.

    Its verdict on a row depends on that row and on rows before it, in the order of shards. No stage between it and the
    sink may reject or add rows. See `pipeline.build.quota`.
    """

    @abstractmethod
    def num_wanted(self) -> int:
        """Rows that it keeps at most. The build reads further shards until it keeps so many, or the input ends."""


class SinkStage(Stage):
    """Writes one file a shard, then the files about all shards.

    `open` returns `(SinkShard, Iterator[Table]) -> Iterator[Table]`. With the rows that it returns, the engine stores
    the light columns that the sink was given, so that `collate` needs no file of another stage.
    """

    kind: ClassVar[Kind] = "sink"
    suffix: ClassVar[str]
    """Suffix of the file it writes for each shard."""
    list_file: ClassVar[str]
    """Name of the file by `collate` that lists the files of all shards."""

    @abstractmethod
    def collate(self, folder: Path, run: RunSummary) -> None:
        """Write the files that describe all shards into `folder`. The engine adds the files of the shards."""

    @abstractmethod
    def check(self, published: PublishedFiles, *, deep: bool) -> Iterator[str]:
        """Yield what is wrong with `list_file` and the files of the shards, a line each. `deep` reads them in full."""
