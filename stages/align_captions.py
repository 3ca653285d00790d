"""Name what an edit changes by the words in which its two captions differ, so that it can be masked.

Reads   source_caption (string), target_caption (string), and edit_object (string) where an earlier stage wrote it
Writes  source_phrase (string), target_phrase (string)
Drops   nothing: phrases are empty where a caption is missing or nothing differs, and so are the masks of them
Source  Bodur et al. 2023, iEdit (arXiv 2305.05947), section 3.4: the words that differ, the noun included when an
        adjective changed. The alignment is that of `write_edits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from pipeline.stage import MapStage
from stages.language_edits.alignment import phrases

if TYPE_CHECKING:
    from pipeline.context import Context
    from pipeline.stage import BatchFn


class AlignCaptions(MapStage):
    """The phrases of edits that come without them, as those of published datasets do."""

    version: ClassVar[int] = 1
    reads: ClassVar = ("source_caption", "target_caption")
    reads_if_present: ClassVar = ("edit_object",)
    writes: ClassVar = ("source_phrase", "target_phrase")

    def open(self, ctx: Context) -> BatchFn:  # noqa: ARG002  it needs nothing
        """A function that aligns the captions of each row."""

        def align(batch: pa.Table) -> pa.Table:
            things = batch["edit_object"].to_pylist() if "edit_object" in batch.column_names else [None] * len(batch)
            captions = (batch[name].to_pylist() for name in self.reads)
            found = [
                phrases(source, target, thing or "") if source and target else ("", "")
                for source, target, thing in zip(*captions, things, strict=True)
            ]
            for name, texts in zip(self.writes, zip(*found, strict=True) if found else ((), ()), strict=True):
                batch = batch.append_column(name, pa.array(texts, pa.string()))
            return batch

        return align
