"""Find for each edit the image nearest to the mean of source image and target caption.

Reads   image_embedding (list<float16>, unit length), source_sha256 (string), target_caption (string)
Writes  target_id (string), target_pool (string), retrieval_cos (float32, cosine of target and query),
        target_image_cos (float32, cosine of target and source), neighbour_ids (list<string>, nearest first),
        neighbour_cos (list<float32>, of each and the query)
Drops   rows for which nothing is left but the source itself and its near-duplicates (no_neighbour), or whose nearest
        image is too far (below_min_cos)
Source  Bodur et al. 2023, iEdit (arXiv 2305.05947), section 3.1; the exclusions are chosen here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

import pyarrow as pa
from pydantic import Field

from core.errors import RunStopped
from models.protocols import ImageTextEncoder
from models.vector_index.index import VectorIndex, VectorIndexError, list_indexes
from pipeline.stage import MapStage, Needs, Serves
from samples.columns import ID_HEX_DIGITS, REJECT_DETAIL, REJECT_REASON, column
from stages.retrieval.embeddings import embeddings_of, unit
from stages.retrieval.neighbours import DECIMALS, find_neighbours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.protocols import Floats
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.retrieval.neighbours import Neighbour

INDEX = "index"
"""Name of the artifact that `index` leaves."""


class NoTarget(StrEnum):
    """Why an edit found no target."""

    NO_NEIGHBOUR = "no_neighbour"
    BELOW_MIN_COS = "below_min_cos"


class Retrieve(MapStage):
    """The nearest image, other than the source and what looks like it, with the next ones.

    The query is `(1 - text_weight) CLIP(source image) + text_weight CLIP(target caption)`, brought to length 1.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("image_embedding", "source_sha256", "target_caption")
    writes: ClassVar[tuple[str, ...]] = (
        "target_id", "target_pool", "retrieval_cos", "target_image_cos", "neighbour_ids", "neighbour_cos",
    )  # fmt: skip
    rejects: ClassVar[type[StrEnum] | None] = NoTarget
    needs: ClassVar[Needs] = Needs(gpu=0.25, memory_bytes=2 << 30, packages=("faiss",), extra="cpu")

    model: Annotated[str, Serves(ImageTextEncoder, only_scores=True)]
    """The ImageTextEncoder that made `image_embedding`."""
    text_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the caption in the query; one half is the paper's plain mean."""
    num_neighbours: int = Field(default=10, ge=1)
    """How many of the nearest images are written, the target among them."""
    max_image_cos: float = Field(default=0.95, ge=-1, le=1)
    """Images nearer than this to the source are near-duplicates of it, and no targets."""
    min_retrieval_cos: float | None = Field(default=None, ge=-1, le=1)
    """An edit whose nearest image is less similar to the query is rejected."""
    pools: tuple[str, ...] = Field(default=(), strict=False)
    """Pools that are searched; none named: all."""

    def needs_artifacts(self) -> tuple[str, ...]:
        """The index that `index` built."""
        return (INDEX,)

    def open(self, ctx: Context) -> BatchFn:
        """Load the indexes and the model once. Raises `RunStopped` when they do not fit each other."""
        encoder = ctx.load(ImageTextEncoder, self.model)
        try:
            indexes = self._indexes(ctx, encoder.dim)
        except VectorIndexError as error:
            raise RunStopped(str(error)) from error

        def retrieve(batch: pa.Table) -> pa.Table:
            source_BD = unit(embeddings_of(batch))
            query_BD = self._queries(source_BD, encoder, batch["target_caption"].to_pylist())
            own_ids = [sha256[:ID_HEX_DIGITS] for sha256 in batch["source_sha256"].to_pylist()]
            found = find_neighbours(
                indexes, query_BD, source_BD, own_ids, number=self.num_neighbours, max_image_cos=self.max_image_cos
            )
            return self._with_columns(batch, found)

        return retrieve

    def _indexes(self, ctx: Context, dim: int) -> dict[str, VectorIndex]:
        folder = ctx.artifacts[INDEX]
        names = list_indexes(folder)
        unknown = sorted(set(self.pools) - set(names))
        if unknown:
            raise VectorIndexError(f"pool {unknown[0]!r} was not indexed (there are: {', '.join(names)})")
        indexes = {name: VectorIndex(folder, name, device=ctx.device) for name in sorted(self.pools) or names}
        for name, index in indexes.items():
            if index.count and index.dim != dim:
                raise VectorIndexError(
                    f"model {self.model!r} makes vectors of {dim} dimensions, pool {name} holds {index.dim}; "
                    "name the model that made image_embedding"
                )
        return indexes

    def _queries(self, source_BD: Floats, encoder: ImageTextEncoder, captions: Sequence[str | None]) -> Floats:
        if not captions:
            return source_BD
        places = {text: place for place, text in enumerate(dict.fromkeys(caption or "" for caption in captions))}
        text_BD = encoder.encode_texts(list(places))[[places[caption or ""] for caption in captions]]
        return unit((1 - self.text_weight) * source_BD + self.text_weight * text_BD)

    def _with_columns(self, batch: pa.Table, found: Sequence[Sequence[Neighbour]]) -> pa.Table:
        best = [near[0] if near else None for near in found]
        values = {
            "target_id": [b and b.sample_id for b in best],
            "target_pool": [b and b.pool for b in best],
            "retrieval_cos": [b and -b.far for b in best],
            "target_image_cos": [b and round(b.image_cos, DECIMALS) for b in best],
            "neighbour_ids": [[n.sample_id for n in near] for near in found],
            "neighbour_cos": [[-n.far for n in near] for near in found],
        }
        for name in self.writes:
            batch = batch.append_column(name, pa.array(values[name], column(name).type))
        reasons = [self._reason(b) for b in best]
        details = [f"cosine {-b.far:.4f}" if b and r else None for b, r in zip(best, reasons, strict=True)]
        batch = batch.append_column(REJECT_REASON, pa.array(reasons, pa.string()))
        return batch.append_column(REJECT_DETAIL, pa.array(details, pa.string()))

    def _reason(self, best: Neighbour | None) -> str | None:
        if best is None:
            return NoTarget.NO_NEIGHBOUR.value
        is_far = self.min_retrieval_cos is not None and -best.far < self.min_retrieval_cos
        return NoTarget.BELOW_MIN_COS.value if is_far else None
