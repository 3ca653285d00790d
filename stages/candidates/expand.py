"""The function of a stage of synthesis: a search over the rows of a batch, and the rows that come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from samples.columns import SAMPLE_ID, expanded_schema
from stages.candidates.rows import pair_rows, rejected_row
from stages.candidates.search import Search
from stages.candidates.stage import NoPair
from stages.candidates.trials import Edit
from stages.pair_scores.filters import with_filter
from stages.pair_scores.scores import score_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from models.protocols import ImageEncoder, ImageTextEncoder, PairRequest, PairSynthesizer
    from pipeline.context import Context
    from pipeline.stage import BatchFn
    from stages.candidates.draws import Draws
    from stages.candidates.rows import Row
    from stages.candidates.stage import SynthesisStage
    from stages.candidates.trials import Trial


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairModels:
    """The models of a stage of synthesis."""

    synthesizer: PairSynthesizer
    encoder: ImageTextEncoder
    image_encoder: ImageEncoder | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Order:
    """An edit as a stage orders it: what its candidates share, and the anchor's file where that is their source."""

    request: PairRequest
    source_file: bytes | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Expansion:
    """What a stage adds to the search: its models, what is drawn, the order of a row, further columns of a pair."""

    models: PairModels
    draws: Draws
    order_of: Callable[[Row], Order]
    columns_of: Callable[[Row, Trial], Row]


def expander(stage: SynthesisStage, ctx: Context, own: Expansion) -> BatchFn:
    """The function of the stage."""
    search = _search(stage, own.models)
    schema = expanded_schema(stage.writes)

    def expand(batch: pa.Table) -> pa.Table:
        edits: list[Edit] = []

        def opened() -> Iterator[Edit]:
            for row in _rows(batch):
                order, rng = own.order_of(row), ctx.rng(row[SAMPLE_ID])
                candidates = own.draws.candidates(rng, has_ring=order.request.core is not None)
                edits.append(Edit(request=order.request, source_file=order.source_file, candidates=candidates))
                yield edits[-1]

        search.run(opened())
        made = [one for row, edit in zip(_rows(batch), edits, strict=True) for one in _made(stage, own, row, edit)]
        return pa.Table.from_pylist(made, schema)

    return expand


def _search(stage: SynthesisStage, models: PairModels) -> Search:
    return Search(
        synthesizer=models.synthesizer, encoder=models.encoder,
        steps=score_steps(models.encoder, models.image_encoder), bounds=with_filter(stage.preset, stage.bounds),
        keep=stage.keep, max_candidates=stage.max_candidates, pairs_per_wave=stage.speed.pairs_per_wave,
        format=stage.format, quality=stage.quality,
    )  # fmt: skip


def _made(stage: SynthesisStage, own: Expansion, row: Row, edit: Edit) -> list[Row]:
    parent_id = row[SAMPLE_ID]
    if not edit.kept:
        return [rejected_row(parent_id, edit, NoPair.NO_CANDIDATE_PASSED.value)]
    source_format = row["source_format"] if edit.source_file else stage.format
    pairs = pair_rows(parent_id, edit, source_format=source_format, target_format=stage.format)
    return [{**pair, **own.columns_of(row, trial)} for pair, trial in pairs]


def _rows(batch: pa.Table) -> Iterator[Row]:
    """The rows one at a time, so that the pixels of one are copied at a time."""
    for start in range(batch.num_rows):
        yield from batch.slice(start, 1).to_pylist()
