"""The context that the engine hands to `open` of a stage: randomness, models, artifacts and kept files."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from core.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import pyarrow as pa

M = TypeVar("M")


def sample_rng(seed: int, stage: str, sample_id: str) -> random.Random:
    """The random generator of one sample in one stage: the same in every run with the same seed."""
    digest = hashlib.sha256(f"{seed}/{stage}/{sample_id}".encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "big"))


class ShardStore(Protocol):
    """Files that a source keeps from call to call, next to its results and under the same fingerprint.

    Names begin with the shard's name and a dot. Pass files that later stages read again to `keep`: the record then
    lists them, `verify` checks them, and the shard counts as not done without them.
    """

    def fetch(self, name: str) -> AbstractContextManager[Path | None]:
        """A local path of the stored file for the block, or None. A copy is removed afterwards."""
        ...

    def put(self, local: Path, name: str) -> Path:
        """Move a finished local file into the store, in one step. Returns a local path to read it from.

        For a remote store that is `local` itself, so that nothing is fetched back; the caller owns it then.
        """
        ...

    def keep(self, local: Path, name: str) -> str:
        """List this file, as it is at `local` now, in the shard's record. Returns its sha256."""
        ...

    def remove(self, name: str) -> None:
        """Delete a stored file. Do nothing when it does not exist."""
        ...

    def scratch(self) -> Path:
        """A local folder for temporary files."""
        ...


class AnswerStore(Protocol):
    """Answers of costly models, kept across builds by key, whatever the fingerprint of the stage is.

    A key is 64 hex digits, a hash over everything that decides the answer. An answer is anything that JSON can hold.
    Kept answers change how long a stage takes, never its result.
    """

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The answers that are kept, by key. A key without one is left out."""
        ...

    def put(self, answers: Mapping[str, Any]) -> None:
        """Keep these answers. They are there for later builds once the call returns."""
        ...


@dataclass(kw_only=True)
class Context:
    """The engine's services for `open`: randomness, models and artifacts."""

    stage_name: str
    seed: int = 0
    device: str = "auto"
    """The device from `run_on`, for stages that compute on a GPU without a model."""
    artifacts: Mapping[str, Path] = field(default_factory=dict)
    """Local path of each artifact that the stage asked for with `needs_artifacts`."""
    artifact_dir: Path | None = None
    """Folder for the artifact of a global stage, a file or folder named `Stage.artifact`."""
    store: ShardStore | None = None
    """Store for files that a source stage should not fetch twice."""
    answers: AnswerStore | None = None
    """Store for answers that a stage should not ask for twice."""
    is_rereading: bool = False
    """True while a later stage reads a source's rows again: nothing is fetched, and a missing file is an error."""
    shared: dict[str, Any] = field(default_factory=dict)
    """Values that the functions of one stage share in a worker, which opens a source twice: to read, and to reread."""
    gatherer: Callable[[Sequence[str]], pa.Table] | None = None
    """The function behind `gather`."""
    loader: Callable[..., Any] | None = None
    """Called with a protocol's name, a model id and settings of the model's wrapper."""
    notes: Counter[str] = field(default_factory=Counter)
    """Counts of other events in a shard; the engine moves them to its record."""

    def rng(self, sample_id: str) -> random.Random:
        """The random generator of this sample: the same in any shard, batch and worker."""
        return sample_rng(self.seed, self.stage_name, sample_id)

    def gather(self, ids: Sequence[str]) -> pa.Table:
        """The columns in `gathers` for the rows with these ids, of any shard, in the order of the ids.

        With `gathers_from_parents` a column that was written before an expand is that of the row's parent. An id may be
        repeated. Raises `ContractError` for an id that no row has.
        """
        if self.gatherer is None:
            raise ContractError("no rows to gather from: this context was made without `gatherer`")
        return self.gatherer(ids)

    def load(self, protocol: type[M], model_id: str, **settings: Any) -> M:
        """The model `model_id`, which has the methods of `protocol`. Call this once a worker, in `open`.

        `settings` go to the model's wrapper (a captioner's prompt). They decide results: make them fields of the stage.
        """
        if self.loader is None:
            raise ContractError(f"no loader for model {model_id!r}: this context was made without one")
        model: M = self.loader(protocol.__name__, model_id, **settings)
        return model
