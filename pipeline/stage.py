"""The stage contract: what a stage declares, and the kinds of worker it can open.

A stage is a frozen value: its fields are exactly the settings that decide its result, `open(ctx)` makes its worker.
Stages know nothing of files, retries, records or executors; the engine adds those.

| kind   | worker made by `open`                               | rows                                         |
|--------|-----------------------------------------------------|----------------------------------------------|
| source | `Shard -> Iterator[Table]`                          | makes them                                   |
| map    | `Table -> Table`                                    | one to one, in order                         |
| expand | `Table -> Table`                                    | one to many, parents in order                |
| global | `ShardTables -> Iterator[(shard name, Table)]`      | a verdict on rows of all shards, an artifact |
| sink   | `(shard name, Iterator[Table], Path) -> Iterator[Table]` | one to one, and a file a shard          |

No stage drops a row: it sets `reject_reason` (a member of its own `rejects` enum) and, if it likes, `reject_detail`.
An expand rejects a parent with one row under the parent's own `sample_id`. Tables may carry more columns than
`writes`; the engine takes `sample_id`, `writes` and the reject columns.
"""

from __future__ import annotations

import hashlib
import random
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

import pyarrow as pa

from core.errors import ContractError
from core.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

Kind = Literal["source", "map", "expand", "global", "sink"]
BatchFn = Callable[[pa.Table], pa.Table]
M = TypeVar("M")


def sample_rng(seed: int, stage: str, sample_id: str) -> random.Random:
    """A generator of its own for one sample in one stage: the same in every run with the same seed."""
    digest = hashlib.sha256(f"{seed}/{stage}/{sample_id}".encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What one worker of a stage takes: CPU cores, GPUs (fractions share one), memory, and the packages it imports.

    GPUs are taken where the cluster has any; without one the stage runs on CPU cores.
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

    `model: Annotated[str, Serves(Captioner)]`; the type of a setting that may be unset is `str | None` in there.
    """

    protocol: type


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One unit of scheduling and resume: a name unique in the run and where its rows come from.

    `identity` changes when the input changes (size and modification time, or an entity tag); `num_bytes` is the
    size of the input, for estimates. `part` tells the source which rows of `uri` are this shard's, where it matters.
    """

    name: str
    uri: str
    identity: str
    num_bytes: int = 0
    part: tuple[int, int] | None = None
    begin: int | None = None
    """Byte of `uri` at which the part begins, where the source noted it."""


class ShardStore(Protocol):
    """Files that a source keeps from call to call, beside its results and under the same fingerprint.

    Names begin with the shard's and a dot. What a shard's rows are read from later is named by `keep`: its record then
    lists it, `verify` looks at it, and without it the shard counts as not done.
    """

    def fetch(self, name: str) -> AbstractContextManager[Path | None]:
        """A local path of the stored file for the block, or None. What had to be copied here is removed after it."""
        ...

    def put(self, local: Path, name: str) -> Path:
        """Put a finished local file into the store, in one step. Returns where it can be read on this machine.

        That is `local` itself where the store is elsewhere, so that nothing is fetched back; it is the caller's then.
        """
        ...

    def keep(self, local: Path, name: str) -> str:
        """Have the shard's record list this file, as it is at `local` now. Returns its sha256."""
        ...

    def remove(self, name: str) -> None:
        """Delete a stored file; nothing when it is not there."""
        ...

    def scratch(self) -> Path:
        """A local folder for temporary files."""
        ...


@dataclass(kw_only=True)
class Context:
    """What the engine hands to `open`: randomness, models and artifacts, and nothing about shards or workers."""

    stage_name: str
    seed: int = 0
    device: str = "auto"
    """Where models run, as `run_on` has it; for what computes on a GPU and is no model."""
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """Local path of each artifact that the stage asked for with `needs_artifacts`."""
    artifact_dir: Path | None = None
    """Where a global stage puts its own artifact, as a file named `Stage.artifact`."""
    store: ShardStore | None = None
    """Where a source stage keeps what it should not fetch twice."""
    is_rereading: bool = False
    """True while a later stage reads a source's rows again: nothing is fetched, and what `store` lacks is an error."""
    gatherer: Callable[[Sequence[str]], pa.Table] | None = None
    """What `gather` asks."""
    loader: Callable[..., Any] | None = None
    """Called with a protocol's name, a model id and settings of the model's wrapper."""
    notes: Counter[str] = field(default_factory=Counter)
    """Counts of what is worth knowing of a shard and is not a row; the engine moves them to its record."""

    def rng(self, sample_id: str) -> random.Random:
        """A generator of this sample's own: the same whatever shard, batch or worker it is in."""
        return sample_rng(self.seed, self.stage_name, sample_id)

    def gather(self, ids: Sequence[str]) -> pa.Table:
        """The columns that the stage `gathers`, of the rows of any shard with these ids, in that order.

        An id may be asked for twice. Raises `ContractError` for one that no row has.
        """
        if self.gatherer is None:
            raise ContractError("no rows to gather from: this context was made without `gatherer`")
        return self.gatherer(ids)

    def load(self, protocol: type[M], model_id: str, **settings: Any) -> M:
        """The model behind `model_id`, which has the methods of `protocol`. Call it once a worker, in `open`.

        `settings` go to the model's wrapper (a captioner's prompt): fields of the stage, as they decide results.
        """
        if self.loader is None:
            raise ContractError(f"no loader for model {model_id!r}: this context was made without one")
        model: M = self.loader(protocol.__name__, model_id, **settings)
        return model


SPEED = "speed"
"""Field of a stage, where it has one, with the settings that only decide speed and patience: not in the fingerprint."""


class Stage(Settings):
    """Base of every stage; subclasses declare the class attributes below and implement `open`."""

    kind: ClassVar[Kind]
    version: ClassVar[int]
    """Bumped when the same settings would give new values."""
    reads: ClassVar[tuple[str, ...]] = ()
    reads_if_present: ClassVar[tuple[str, ...]] = ()
    """Columns it takes too when some stage before it wrote them."""
    gathers: ClassVar[tuple[str, ...]] = ()
    """Columns of rows of any shard, that it fetches by id with `ctx.gather`."""
    writes: ClassVar[tuple[str, ...]] = ()
    rejects: ClassVar[type[StrEnum] | None] = None
    needs: ClassVar[Needs] = Needs()
    """Without one of its own, a class with a model field has MODEL_NEEDS."""
    uses_rng: ClassVar[bool] = False
    """True when results depend on the manifest's seed."""

    def needs_columns(self) -> tuple[str, ...]:
        """Columns that these settings read beside `reads`; a chain in which no stage writes them is refused."""
        return ()

    def needs_artifacts(self) -> tuple[str, ...]:
        """Names of artifacts of upstream global stages that these settings use."""
        return ()

    @classmethod
    def __pydantic_init_subclass__(cls, **settings: Any) -> None:
        super().__pydantic_init_subclass__(**settings)
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

    def needs_models(self) -> tuple[str, ...]:
        """Model ids that these settings use; their revisions enter the fingerprint."""
        used = [getattr(self, name) for name in self.model_settings()]
        return tuple(dict.fromkeys(model for model in used if model is not None))

    @abstractmethod
    def open(self, ctx: Context) -> Callable[..., Any]:
        """Load what the worker needs, once, and return it as a function (see the table of kinds)."""


class SourceStage(Stage):
    """Makes rows from shards of input. `open` returns `Shard -> Iterator[Table]`, the same rows at every call."""

    kind: ClassVar[Kind] = "source"
    retryable: ClassVar[frozenset[str]] = frozenset()
    """Reject reasons that may not come again: `editloom retry` has their rows tried anew, by a file
    `<shard>.retry` in `ctx.store`, which the stage removes."""
    final: ClassVar[frozenset[str]] = frozenset()
    """Reject reasons that not even `editloom retry --all` can change."""

    @abstractmethod
    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """The shards behind the user's inputs, by listing only. Raises `PlanError` when there are none."""


class MapStage(Stage):
    """One row in, one row out, in order. `open` returns `Table -> Table`."""

    kind: ClassVar[Kind] = "map"


class ExpandStage(Stage):
    """One row in, any number out. `open` returns `Table -> Table` with `parent_id` set and parents in order."""

    kind: ClassVar[Kind] = "expand"


ShardTables = Callable[[], Iterable[tuple[str, pa.Table]]]
"""Call it for a pass over (shard name, Table of `sample_id` and `reads`), shards in name order."""


class GlobalStage(Stage):
    """Sees light columns of all shards at once. `open` returns `ShardTables -> Iterator[(shard name, Table)]`.

    A stage that only builds an artifact (`writes` empty, no `rejects`) yields nothing: all rows pass.
    """

    kind: ClassVar[Kind] = "global"
    artifact: ClassVar[str] = ""
    """Name of the artifact it leaves in `ctx.artifact_dir`, or empty: a file, or (a name without a dot) a folder of
    files."""

    @property
    def gives_verdicts(self) -> bool:
        """True when it writes columns or rejects rows, so that its output stands between stages."""
        return bool(self.writes) or self.rejects is not None


class SinkStage(Stage):
    """Writes one file a shard, then collates. `open` returns `(name, Iterator[Table], Path) -> Iterator[Table]`."""

    kind: ClassVar[Kind] = "sink"
    suffix: ClassVar[str]
    """Suffix of the file it writes for each shard."""

    @abstractmethod
    def collate(self, folder: Path, run: RunSummary) -> None:
        """Write what describes all shards together into `folder`; the engine puts their files next to it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """What `SinkStage.collate` may know of the run."""

    manifest: Mapping[str, Any]
    """The manifest, as plain data."""
    columns: tuple[str, ...]
    """Columns that reach the sink."""
    shard_files: Mapping[str, Mapping[str, Any]]
    """Shard with rows -> rows, bytes and sha256 of the file that the sink wrote for it."""
    stages: Sequence[Mapping[str, Any]]
    """A stage in order: name, fingerprint, settings, models, licences, rows_in, rows_kept, rows_out, rejects, notes,
    seconds; `models` has the revision of each model id, `licences` the licence of those that say one."""
    tables: Callable[[Sequence[str], Sequence[str]], Iterator[tuple[str, pa.Table]]]
    """Call with shard and column names for batches of (shard name, Table of `sample_id` and the columns)."""
    rejects: Callable[[], Iterator[pa.Table]]
    """Call for batches of all rejected rows: shard, stage, sample_id, reject_reason, reject_detail, row (JSON)."""
