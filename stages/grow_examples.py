"""Grow a set of example edits to a pool of thousands: a language model writes them from captions of the input.

Reads   caption (string) or generated_caption (string), as `caption_column` says
Writes  nothing: leaves the artifact `examples`, a folder with examples.jsonl. A grown example has `grown` beside its
        texts: the caption's row, the ids that its prompt showed, round, seed, model.
Drops   nothing. Answers that fail a check, and near-duplicates, are left out and counted in the notes.
Source  Zhao et al. 2024, UltraEdit (arXiv 2407.05282), section 2.1 and appendix A.2: about 10,000 examples there. It is
        one step, begun anew when it is stopped; `run_on.deadline_s` has to allow for it.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from core.errors import ContractError
from models.language.example_sets import EditExamples
from models.protocols import ImageTextEncoder, TextGenerator
from pipeline.stage import GlobalStage, Needs, Serves, ShardTables
from samples.columns import SAMPLE_ID
from stages.language_edits.growth import GrowthPlan, Pool, grow
from stages.language_edits.schema import LONGEST_FIELD
from stages.language_edits.settings import EXAMPLES, EXAMPLES_FILE, AskingSettings
from stages.language_edits.words import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from pipeline.context import Context


class GrowExamples(AskingSettings, GlobalStage):
    """A pool of examples for `write_edits` with `grown_examples = true`. New ones are shown to the model in turn."""

    version: ClassVar[int] = 1
    reads_if_present: ClassVar[tuple[str, ...]] = ("caption", "generated_caption")
    artifact: ClassVar[str] = EXAMPLES
    needs: ClassVar[Needs] = Needs(gpu=1.0, memory_bytes=2 << 30)
    uses_rng: ClassVar[bool] = True

    examples: Annotated[str, Serves(EditExamples)] = "examples:photographs"
    """Set that the growth begins with: `examples:NAME`, `path:FILE.jsonl`."""
    target_size: int = Field(default=10_000, ge=1)
    """Examples of the pool, those of the set included."""
    max_rounds: int = Field(default=100, ge=1)
    """Rounds of asking; new examples are shown from the next round on."""
    captions_per_round: int = Field(default=512, ge=1)
    """Captions that a round asks one edit of."""
    encoder: Annotated[str | None, Serves(ImageTextEncoder, only_scores=True)] = None
    """Encoder by whose vectors near-duplicates are found, or none: only by equal words."""
    max_cos: float = Field(default=0.95, ge=-1, le=1)
    """An instruction nearer than this to another one of the pool is left out."""

    def open(self, ctx: Context) -> Callable[[ShardTables], Iterator[tuple[str, pa.Table]]]:
        """Load the models once. Raises ContractError without `artifact_dir`."""
        if ctx.artifact_dir is None:
            raise ContractError(f"no folder for {self.artifact}: this context was made without `artifact_dir`")
        folder = ctx.artifact_dir / self.artifact
        seeds = ctx.load(EditExamples, self.examples)
        model = ctx.load(TextGenerator, self.model)
        encoder = None if self.encoder is None else ctx.load(ImageTextEncoder, self.encoder)
        shares = self.shares_of(seeds.edit_types)
        plan = GrowthPlan(
            asking=self.asking(tuple(shares)), shares=shares, target_size=self.target_size, max_rounds=self.max_rounds,
            captions_per_round=self.captions_per_round, num_instructions=self.num_instructions,
            num_examples=self.num_examples, max_cos=self.max_cos,
        )  # fmt: skip

        def build(tables: ShardTables) -> Iterator[tuple[str, pa.Table]]:
            pool = Pool(seeds.edits, encoder, self.target_size, self.max_cos)
            grow(pool, self._captions(tables, ctx), plan, model, ctx.rng, ctx.notes)
            self._write(folder, pool)
            yield from ()

        return build

    def _captions(self, tables: ShardTables, ctx: Context) -> list[tuple[str, str]]:
        """(id, caption) of as many rows as all rounds ask for, drawn by the seed and in the order of the draw."""

        def ranked() -> Iterator[tuple[float, str, str]]:
            for _, table in tables():
                pairs = zip(table[SAMPLE_ID].to_pylist(), table[self.caption_column].to_pylist(), strict=True)
                for sample_id, text in pairs:
                    caption = " ".join((text or "").split())
                    if len(caption) <= LONGEST_FIELD and 0 < len(words(caption)) <= self.max_caption_words:
                        yield ctx.rng(sample_id).random(), sample_id, caption

        drawn = heapq.nsmallest(self.max_rounds * self.captions_per_round, ranked())
        return [(sample_id, caption) for _, sample_id, caption in drawn]

    def _write(self, folder: Path, pool: Pool) -> None:
        folder.mkdir(exist_ok=True)
        with (folder / EXAMPLES_FILE).open("w", encoding="utf-8") as lines:
            for edit in pool.edits:
                line: dict[str, Any] = edit.model_dump()
                if edit.id in pool.origins:
                    line["grown"] = {**asdict(pool.origins[edit.id]), "model": self.model}
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
