"""Count the words of all captions, so that edits can keep to words that the captions use.

Reads   caption (string) or generated_caption (string), as `caption_column` says
Writes  nothing: leaves the artifact vocabulary.json, {"captions": int, "words": {lower-case word: occurrences}}
Drops   nothing
Source  none: plain counting, with the tokeniser that the caption edits use.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Literal

from core.errors import ContractError
from pipeline.stage import GlobalStage, ShardTables
from stages.wordnet_edits.grammar import tokenise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipeline.context import Context


class CountWords(GlobalStage):
    """The vocabulary of the captions, with the same bytes whatever the order of shards and rows."""

    version: ClassVar[int] = 2
    reads_if_present: ClassVar[tuple[str, ...]] = ("caption", "generated_caption")
    artifact: ClassVar[str] = "vocabulary.json"

    caption_column: Literal["caption", "generated_caption"] = "caption"
    """Column whose words are counted."""

    def needs_columns(self) -> tuple[str, ...]:
        """The captions to count."""
        return (self.caption_column,)

    def open(self, ctx: Context) -> Callable[[ShardTables], Iterator[tuple[str, pa.Table]]]:
        """Count in one pass and write the artifact into `ctx.artifact_dir`. Raises ContractError without it."""
        if ctx.artifact_dir is None:
            raise ContractError(f"no folder for {self.artifact}: this context was made without `artifact_dir`")
        path = ctx.artifact_dir / self.artifact

        def count(tables: ShardTables) -> Iterator[tuple[str, pa.Table]]:
            words: Counter[str] = Counter()
            num_captions = 0
            for _, table in tables():
                for caption in table[self.caption_column].to_pylist():
                    num_captions += caption is not None
                    words.update(token.lower for token in tokenise(caption or ""))
            content = {"captions": num_captions, "words": dict(sorted(words.items()))}
            path.write_text(json.dumps(content, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
            yield from ()

        return count
