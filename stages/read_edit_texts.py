"""Read edits of published datasets that have no images: caption, instruction, caption after the edit.

Reads   JSON lines, InstructPix2Pix's (`caption` or `input`, `edit`, `output`, `url`) or UltraEdit's, one edit a line
Writes  source_key (string), source_url (string), source_metadata (string, JSON), source_licence (string),
        caption (string), source_caption (string), target_caption (string), instruction (string),
        reverse_instruction (string), edit_object (string), edit_type (string), edit_writer (string)
Drops   lines that are no JSON object, and those without instruction or without one of the two captions
Source  Brooks et al. 2023, InstructPix2Pix; Zhao et al. 2024, UltraEdit: their released files of text.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, field_validator

from core.errors import PlanError
from pipeline.plan.inputs import identify_inputs, name_shards
from pipeline.stage import Shard, SourceStage
from stages.inputs.captions_file import opened
from stages.inputs.edit_rows import TEXT_ROW_COLUMNS, EditReject, InputEdit, text_row
from stages.inputs.edit_tables import read_json_lines, written_lines
from stages.inputs.edit_texts import names_with
from stages.inputs.rows import in_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipeline.context import Context

SUFFIXES = (".jsonl", ".ndjson")


class ReadEditTexts(SourceStage):
    """Edits without images, one shard for every `rows_per_shard` lines. Ids are those of the texts."""

    version: ClassVar[int] = 2
    writes: ClassVar = TEXT_ROW_COLUMNS
    rejects: ClassVar = EditReject

    columns: dict[str, str] = Field(default_factory=dict)
    """Names of columns where they are others than in those datasets: `{ instruction = "request" }`."""
    rows_per_shard: int = Field(default=10_000, ge=1)
    """Lines in one shard."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        names_with(columns)
        return columns

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """Shards `<file>-00000` … of each file. Raises `PlanError` when there are no lines."""
        shards = []
        files = identify_inputs(inputs, SUFFIXES)
        for name, url in name_shards(list(files)).items():
            identity, _ = files[url]
            for part, (start, places) in enumerate(self._spans(url)):
                stop = start + len(places)
                shards.append(
                    Shard(
                        name=f"{name}-{part:05d}", uri=url, identity=f"{identity}:{start}-{stop}", begin=places[0],
                        part=(start, stop), num_bytes=places[-1] - places[0],
                    )
                )  # fmt: skip
        if not shards:
            raise PlanError(f"{', '.join(inputs)[:200]} hold no lines")
        return shards

    def _spans(self, url: str) -> Iterator[tuple[int, list[int]]]:
        """(number of the first line, byte of each line) of each span."""
        with opened(url) as handle:
            lines = written_lines(handle, 0)
            for start in itertools.count(0, self.rows_per_shard):
                places = [begin for begin, _ in itertools.islice(lines, self.rows_per_shard)]
                if not places:
                    return
                yield start, places

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:  # noqa: ARG002  it needs nothing
        """A function that reads one span of lines."""
        names = names_with(self.columns)

        def read(shard: Shard) -> Iterator[pa.Table]:
            assert shard.part is not None
            lines = enumerate(read_json_lines(shard.uri, *shard.part, shard.begin or 0), shard.part[0])
            edits = (InputEdit(key=f"line {number + 1}", row=row) for number, row in lines)
            return in_tables((text_row(edit, shard.name, names) for edit in edits), TEXT_ROW_COLUMNS)

        return read
