"""Change one noun or adjective of each caption to a co-hyponym or antonym, and say the edit as an instruction.

Reads   caption (string) or generated_caption (string), as `caption_column` says
Writes  source_caption (string), target_caption (string), instruction (string), reverse_instruction (string),
        edit_type (string), source_phrase (string), target_phrase (string)
Drops   captions without an editable word (no_editable_word) or without a replacement for any (no_replacement)
Source  Bodur et al. 2023, iEdit (arXiv 2305.05947), section 3.1.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from models.language.wordnet import MODEL_ID, WordNet
from pipeline.stage import BatchFn, ExpandStage, Needs, Serves
from samples.columns import PARENT_ID, REJECT_DETAIL, REJECT_REASON, SAMPLE_ID, expanded_schema
from stages.wordnet_edits.drawing import draw, edit_columns
from stages.wordnet_edits.edits import EditFinder
from stages.wordnet_edits.grammar import pluralise
from stages.wordnet_edits.sisters import Sisters
from stages.wordnet_edits.word_counts import VOCABULARY, read_word_counts

if TYPE_CHECKING:
    import random

    from pipeline.context import Context


class NoEdit(StrEnum):
    """Why a caption gave no edit."""

    NO_EDITABLE_WORD = "no_editable_word"
    NO_REPLACEMENT = "no_replacement"


class EditCaptionWordnet(ExpandStage):
    """Edits of a caption by WordNet: one word changes, the rest stays, and both directions are put into words."""

    version: ClassVar[int] = 3
    reads_if_present: ClassVar[tuple[str, ...]] = ("caption", "generated_caption")
    writes: ClassVar[tuple[str, ...]] = (
        "source_caption", "target_caption", "instruction", "reverse_instruction", "edit_type", "source_phrase",
        "target_phrase",
    )  # fmt: skip
    rejects: ClassVar[type[StrEnum] | None] = NoEdit
    needs: ClassVar[Needs] = Needs(memory_bytes=400 << 20, packages=("wordfreq", "inflect"))
    uses_rng: ClassVar[bool] = True

    lexicon: Annotated[str, Serves(WordNet)] = MODEL_ID
    """WordNet version that gives nouns, antonyms and co-hyponyms."""
    caption_column: Literal["caption", "generated_caption"] = "caption"
    """Column to edit: the caption that came with the image, or the one that stage `caption` wrote."""
    edits_per_caption: int = Field(default=1, ge=1)
    """Most edits of one caption; fewer where it allows fewer."""
    cohyponym_depth: int = Field(default=5, ge=1)
    """Steps up to the hypernym that a noun and its replacement share: 1 is the direct one."""
    scope: Literal["visual", "any"] = "visual"
    """`visual` keeps to nouns that look alike (`visual_kinds`); `any` takes every co-hyponym, as the paper."""
    vocabulary: Literal["frequency", "corpus", "both"] = "frequency"
    """Source of a word's frequency: wordfreq, the captions, or wordfreq with the captions raising the rank."""
    min_zipf: float = Field(default=2.8, ge=0, le=8)
    """Floor of wordfreq's scale (3 is once in a million words), for `frequency` and `both`."""
    min_corpus_count: int = Field(default=5, ge=1)
    """Floor of occurrences in the captions, for `corpus`."""
    candidates_per_word: int = Field(default=6, ge=1)
    """How many of the best replacements of a noun one is drawn from."""

    def needs_columns(self) -> tuple[str, ...]:
        """The captions to edit."""
        return (self.caption_column,)

    def needs_artifacts(self) -> tuple[str, ...]:
        """The vocabulary, when the captions' own counts are used."""
        return () if self.vocabulary == "frequency" else (VOCABULARY,)

    def open(self, ctx: Context) -> BatchFn:
        """Load the lexicon once. The worker caches its answers for each noun."""
        corpus: dict[str, int] = {}
        if self.needs_artifacts():
            corpus = read_word_counts(ctx.artifacts[VOCABULARY])
        sisters = Sisters(
            wordnet=ctx.load(WordNet, self.lexicon),
            depth=self.cohyponym_depth,
            scope=self.scope,
            vocabulary=self.vocabulary,
            min_zipf=self.min_zipf,
            min_count=self.min_corpus_count,
            corpus=corpus,
        )
        finder = EditFinder(sisters, self.candidates_per_word)
        pluralise("word")  # loads the grammar here, once a worker, rather than in the first batch

        def edit(batch: pa.Table) -> pa.Table:
            rows: list[dict[str, Any]] = []
            pairs = zip(batch[SAMPLE_ID].to_pylist(), batch[self.caption_column].to_pylist(), strict=True)
            for sample_id, caption in pairs:
                rows += self._rows(finder, sample_id, caption or "", ctx.rng(sample_id))
            return pa.Table.from_pylist(rows, expanded_schema(self.writes))

        return edit

    def _rows(self, finder: EditFinder, sample_id: str, caption: str, rng: random.Random) -> list[dict[str, Any]]:
        sites = finder.sites(caption)
        if not sites:
            found = finder.has_noun_phrase(caption)
            reason = NoEdit.NO_REPLACEMENT if found else NoEdit.NO_EDITABLE_WORD
            return [{SAMPLE_ID: sample_id, REJECT_REASON: reason.value, REJECT_DETAIL: caption[:200]}]
        return [
            {SAMPLE_ID: f"{sample_id}-e{number}", PARENT_ID: sample_id, **edit_columns(caption, edit_type, option, rng)}
            for number, (edit_type, option) in enumerate(draw(sites, self.edits_per_caption, rng), start=1)
        ]
