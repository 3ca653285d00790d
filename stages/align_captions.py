"""Name what an edit changes by the words in which its two captions differ, so that it can be masked.

Reads   source_caption (string), target_caption (string), and edit_object (string) where an earlier stage wrote it
Writes  source_phrase (string), target_phrase (string)
Drops   nothing: phrases are empty where a caption is missing or very long, or nothing differs; so are their masks
Source  Bodur et al. 2023, iEdit (arXiv 2305.05947), section 3.4: the words that differ, the noun included when an
        adjective changed. The alignment is that of `write_edits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from pipeline.stage import MapStage
from stages.language_edits.alignment import phrases
from stages.wordnet_edits.grammar import tokenise

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


MAX_WORDS = 300
"""A longer caption is not aligned: the time grows with the cube of a word's repetitions, to seconds at 500 words."""
NOTE = f"captions of more than {MAX_WORDS} words, not aligned"


class AlignCaptions(MapStage):
    """The phrases of edits that come without them, as those of published datasets do."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_caption", "target_caption")
    reads_if_present: ClassVar = ("edit_object",)
    writes: ClassVar = ("source_phrase", "target_phrase")

    def open(self, ctx: Context) -> BatchFn:
        """A function that aligns the captions of each row."""

        def phrases_of(source: str | None, target: str | None, thing: str | None) -> tuple[str, str]:
            if not source or not target:
                return "", ""
            if max(len(tokenise(source)), len(tokenise(target))) > MAX_WORDS:
                ctx.notes[NOTE] += 1
                return "", ""
            return phrases(source, target, thing or "")

        def align(batch: pa.Table) -> pa.Table:
            things = batch["edit_object"].to_pylist() if "edit_object" in batch.column_names else [None] * len(batch)
            captions = (batch[name].to_pylist() for name in self.reads)
            found = [phrases_of(*row) for row in zip(*captions, things, strict=True)]
            for name, texts in zip(self.writes, zip(*found, strict=True) if found else ((), ()), strict=True):
                batch = batch.append_column(name, pa.array(texts, pa.string()))
            return batch

        return align
