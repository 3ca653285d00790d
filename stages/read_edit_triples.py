"""Read edits of published datasets: source image, instruction, target image, captions.

Reads   Parquet tables or JSON lines in UltraEdit's, HQ-Edit's, MagicBrush's or OmniEdit's layout (images as bytes, as
        Hugging Face's `datasets` store them, or as names of files beside the table), or InstructPix2Pix's folders of
        pairs, as `layout` says
Writes  source_raw (binary, virtual: read again on demand), source_sha256 (string), source_key (string),
        source_size_bytes (int64), source_url (string), source_metadata (string, JSON), source_licence (string),
        caption (string), target_raw (binary, virtual), mask_raw (binary, virtual), source_caption (string),
        target_caption (string), instruction (string), reverse_instruction (string), edit_object (string),
        edit_type (string), edit_writer (string), instructions (list<string>), session_id (string), turn (int32)
Drops   edits without instruction, caption or image, those with an image that is empty, too big, unreadable, or outside
        of the folder, and those whose turn is none
Source  Brooks et al. 2023, InstructPix2Pix; Zhang et al. 2023, MagicBrush; Zhao et al. 2024, UltraEdit; Hui et al.
        2024, HQ-Edit; Wei et al. 2024, OmniEdit: their files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator

from core.errors import PlanError, ShardFailed
from pipeline.plan.inputs import expand_inputs, file_identity, name_shards
from pipeline.stage import Needs, Shard, SourceStage
from pipeline.store.records import digest
from stages.inputs.edit_rows import TRIPLE_COLUMNS, EditReject, Needed, triple_row
from stages.inputs.edit_tables import TABLE_SUFFIXES, list_spans, read_edits
from stages.inputs.edit_texts import names_with
from stages.inputs.pair_folders import CHANGED, list_pair_folders, read_pairs
from stages.inputs.rows import in_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipeline.context import Context
    from stages.inputs.edit_rows import InputEdit
    from stages.inputs.pair_folders import PairFolder
    from stages.inputs.parquet_rows import TableReader


class ReadEditTriples(SourceStage):
    """Edits with their images, one shard for about every `rows_per_shard` of them."""

    version: ClassVar[int] = 3
    writes: ClassVar = TRIPLE_COLUMNS
    rejects: ClassVar = EditReject
    needs: ClassVar = Needs(memory_bytes=1 << 30)
    """For row groups of 1500 images each; groups of 100, as the datasets have them, take a third."""

    layout: Literal["table", "pair_folders"] = "table"
    """table: UltraEdit, HQ-Edit, MagicBrush, OmniEdit and their like; pair_folders: InstructPix2Pix."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Names of columns where they are others than in those datasets: `{ instruction = "request" }`."""
    rows_per_shard: int = Field(default=1000, ge=1)
    """Edits in one shard; a folder of pairs is not split."""
    require_captions: bool = True
    """Whether an edit without one of its two captions is rejected; false for MagicBrush and OmniEdit."""
    require_target: bool = True
    """Whether an edit without target image is rejected; false for UltraEdit's input to its generator."""
    max_image_bytes: int = Field(default=50_000_000, ge=1)
    """A larger image file is rejected."""

    @field_validator("columns")
    @classmethod
    def _known(cls, columns: dict[str, str]) -> dict[str, str]:
        names_with(columns)
        return columns

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """Shards `<table or folder>-00000` … of each input. Raises `PlanError` for an input that cannot serve."""
        is_table = self.layout == "table"
        shards: list[Shard] = []
        for name, url in name_shards(expand_inputs(inputs, TABLE_SUFFIXES if is_table else ())).items():
            try:
                shards += self._shards_of_table(url, name) if is_table else self._shards_of_folder(url, name)
            except ShardFailed as error:
                raise PlanError(str(error)) from None
        if not shards:
            wanted = "edits" if is_table else "folders with prompt.json and <seed>_0.jpg"
            raise PlanError(f"{', '.join(inputs)[:200]} hold no {wanted}")
        return shards

    def _shards_of_table(self, url: str, name: str) -> Iterator[Shard]:
        identity, _ = file_identity(url)
        for part, span in enumerate(list_spans(url, names_with(self.columns), self.rows_per_shard)):
            yield Shard(
                name=f"{name}-{part:05d}", uri=url, part=(span.start, span.stop), begin=span.begin,
                identity=digest([identity, span.stamp]), num_bytes=span.num_bytes,
            )  # fmt: skip

    def _shards_of_folder(self, url: str, name: str) -> Iterator[Shard]:
        folders = list_pair_folders(url)
        start = part = 0
        while start < len(folders):
            stop, num_pairs = start, 0
            while stop < len(folders) and (stop == start or num_pairs + folders[stop].num_pairs <= self.rows_per_shard):
                num_pairs += folders[stop].num_pairs
                stop += 1
            held = folders[start:stop]
            yield Shard(
                name=f"{name}-{part:05d}", uri=url, part=(start, stop), identity=_identity(held),
                num_bytes=sum(folder.num_bytes for folder in held),
            )  # fmt: skip
            start, part = stop, part + 1

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that reads one span of a table, or the folders of one shard."""
        readers: dict[str, TableReader] = {}
        listings: dict[str, list[PairFolder]] = {}
        names = names_with(self.columns)
        needed = Needed(captions=self.require_captions, target=self.require_target)

        def edits(shard: Shard) -> Iterator[InputEdit]:
            assert shard.part is not None
            if self.layout == "table":
                yield from read_edits(shard.uri, shard.part, shard.begin, names, self.max_image_bytes, readers)
                for table in readers.values():
                    ctx.notes.update(table.take_notes())
                return
            if shard.uri not in listings:
                listings[shard.uri] = list_pair_folders(shard.uri)
            folders = listings[shard.uri][slice(*shard.part)]
            if _identity(folders) != shard.identity:
                raise ShardFailed(f"{shard.uri}: {CHANGED}")
            for folder in folders:
                yield from read_pairs(shard.uri, folder, self.max_image_bytes, ctx.notes)

        def read(shard: Shard) -> Iterator[pa.Table]:
            rows = (triple_row(edit, shard.name, names, needed) for edit in edits(shard))
            return in_tables(rows, TRIPLE_COLUMNS)

        return read


def _identity(folders: Sequence[PairFolder]) -> str:
    return digest([f"{folder.name}:{folder.identity}" for folder in folders])
