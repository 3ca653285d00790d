"""Index the images of the collection by their vectors, so that `retrieve` finds those near a query.

Reads   image_embedding (list<float16>, unit length)
Writes  nothing: leaves the artifact index, a folder with the files of `models.vector_index.index` for each pool
Drops   nothing
Source  Johnson et al. 2019, Faiss; as clip-retrieval and autofaiss index LAION, with memory known before the build.
"""

from __future__ import annotations

import shutil
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from core.errors import ContractError, RunStopped
from models.vector_index.index import IndexSettings, VectorIndexError, VectorWriter, build_index
from pipeline.stage import GlobalStage, Needs, ShardTables
from samples.columns import SAMPLE_ID
from stages.retrieval.embeddings import embeddings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from pipeline.context import Context

PoolName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
Glob = Annotated[str, Field(min_length=1)]


class Index(GlobalStage):
    """One index a pool: compared one by one up to `flat_below` images, then lists of codes with exact re-ranking.

    The same files for the same rows in the same order, whatever the shards and the number of cores. Codes of lists are
    made of sums of floats: with other vector instructions some codes differ, but hardly ever the results of a search.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image_embedding",)
    artifact: ClassVar[str] = "index"
    needs: ClassVar[Needs] = Needs(memory_bytes=1 << 30, packages=("faiss",), extra="cpu")

    pools: dict[PoolName, Glob] = Field(default={"all": "*"}, min_length=1)
    """Pool -> glob of shard names. A shard may be in several; rows of one that is in none are noted and not indexed."""
    memory_budget_bytes: int = Field(default=IndexSettings().memory_budget_bytes, ge=1)
    """Memory that the index of one pool may take while it is built, and in each worker that searches it."""
    flat_below: int = Field(default=IndexSettings().flat_below, ge=0)
    """A pool with fewer images is compared one by one, exactly."""
    num_probes: int | None = Field(default=None, ge=1)
    """Lists that a query looks at; none: 64, or 2 sqrt(lists) if more."""
    rerank: int = Field(default=IndexSettings().rerank, ge=1)
    """Candidates by code whose cosines are computed, for each neighbour asked for."""
    seed: int = 0
    """Of the lists' centres."""

    def open(self, ctx: Context) -> Callable[[ShardTables], Iterator[tuple[str, pa.Table]]]:
        """One pass that puts the vectors on disk, then a build a pool. Raises ContractError without `artifact_dir`."""
        if ctx.artifact_dir is None:
            raise ContractError(f"no folder for {self.artifact}: this context was made without `artifact_dir`")
        folder = ctx.artifact_dir / self.artifact

        def build(tables: ShardTables) -> Iterator[tuple[str, pa.Table]]:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            self._write(tables, folder, ctx)
            for pool in sorted(self.pools):
                try:
                    build_index(folder, pool, self._settings(), device=ctx.device)
                except VectorIndexError as error:
                    raise RunStopped(f"pool {pool}: {error}") from error
            yield from ()

        return build

    def _settings(self) -> IndexSettings:
        return IndexSettings(
            memory_budget_bytes=self.memory_budget_bytes, flat_below=self.flat_below, num_probes=self.num_probes,
            rerank=self.rerank, seed=self.seed,
        )  # fmt: skip

    def _write(self, tables: ShardTables, folder: Path, ctx: Context) -> None:
        writers = {pool: VectorWriter(folder, pool) for pool in sorted(self.pools)}
        outside = 0
        for shard, table in tables():
            if not table.num_rows:
                continue
            pools = [pool for pool in writers if fnmatchcase(shard, self.pools[pool])]
            outside += 0 if pools else table.num_rows
            for pool in pools:
                try:
                    writers[pool].add(table[SAMPLE_ID].to_pylist(), embeddings_of(table))
                except VectorIndexError as error:
                    raise ContractError(f"shard {shard}: {error}") from error
        for pool, writer in writers.items():
            writer.close()
            ctx.notes[f"vectors in pool {pool}"] += writer.count
        ctx.notes["rows in no pool"] += outside
        if outside and not any(writer.count for writer in writers.values()):
            raise RunStopped(
                f"no shard belongs to a pool: {self.pools} match none of the shards' names, such as {shard!r}"
            )
