"""Read image-caption samples from a folder of images with a captions file.

Reads   a captions file (csv, tsv, jsonl, a JSON list or Parquet; Hugging Face's `metadata.jsonl` by default) that names
        images relative to its own folder; SHARDS may be the folder or the captions file
Writes  source_raw (binary, virtual: read again on demand), source_sha256 (string), source_key (string),
        source_size_bytes (int64), source_url (string), source_metadata (string, JSON), source_licence (string),
        caption (string)
Drops   lines without caption, images that are not there, empty, too big, or outside the folder
Source  Hugging Face `imagefolder` layout.
"""

from __future__ import annotations

import itertools
import posixpath
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from fsspec.core import url_to_fs
from pydantic import Field

from core.errors import PlanError, ShardFailed
from pipeline.plan.inputs import expand_inputs, file_identity, name_shards
from pipeline.stage import Shard, SourceStage
from pipeline.store.records import digest
from stages.inputs.captions_file import CAPTION_DEFAULT, FILE_DEFAULT, Columns, Wanted, list_lines, read_lines
from stages.inputs.folder_images import ImageFolder
from stages.inputs.rows import SOURCE_COLUMNS, InputReject, InputSample, first_caption, tables_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from pipeline.context import Context
    from stages.inputs.parquet_rows import TableReader

CAPTIONS_FILES = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.parquet", "captions.jsonl",
                  "captions.csv", "captions.tsv", "captions.parquet", "metadata.json", "captions.json")  # fmt: skip
"""Looked for in this order when SHARDS names a folder."""
MAX_KEY_CHARS = 512


class ReadImageFolder(SourceStage):
    """Image-caption samples of a folder, one shard for every `rows_per_shard` lines of its captions file."""

    version: ClassVar[int] = 3
    writes: ClassVar = SOURCE_COLUMNS
    rejects: ClassVar = InputReject

    file_column: str = FILE_DEFAULT
    """Column of the images' names; by default also the only one of a usual name (image, path …)."""
    caption_column: str = CAPTION_DEFAULT
    """Column of the captions, found alike (caption, prompt …); of a list of captions the first is taken."""
    rows_per_shard: int = Field(default=1000, ge=1)
    """Lines of the captions file in one shard."""
    require_caption: bool = True
    """Whether an image without caption is rejected."""
    max_image_bytes: int = Field(default=100_000_000, ge=1)
    """A larger image file is rejected."""

    @property
    def _wanted(self) -> Wanted:
        return Wanted(
            file_column=self.file_column, caption_column=self.caption_column, needs_caption=self.require_caption
        )

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """Shards `<folder>-00000` … of each captions file. Raises `PlanError` for a file that cannot serve."""
        files = sorted({_captions_file(url) for url in expand_inputs(inputs, ())})
        in_folder = Counter(posixpath.dirname(url) for url in files)
        named = {(posixpath.dirname(url) or ".") if in_folder[posixpath.dirname(url)] == 1 else url: url
                 for url in files}  # fmt: skip
        shards: list[Shard] = []
        for name, named_by in name_shards(list(named)).items():
            try:
                shards += self._shards_of(named[named_by], name)
            except ShardFailed as error:
                raise PlanError(str(error)) from None
        if not shards:
            raise PlanError(f"captions file {files[0]!r} has no rows")
        return shards

    def _shards_of(self, url: str, name: str) -> Iterator[Shard]:
        """The shards of one captions file, in one pass: `identity` also changes when an image is replaced."""
        identity, _ = file_identity(url)
        stamp_of = ImageFolder(url).stamps()
        lines = list_lines(url, self._wanted)
        for part in itertools.count():
            held = list(itertools.islice(lines, self.rows_per_shard))
            if not held:
                return
            start = part * self.rows_per_shard
            stamps = [stamp_of(line.name) for line in held]
            yield Shard(
                name=f"{name}-{part:05d}", uri=url, part=(start, start + len(held)), begin=held[0].at,
                identity=digest([identity, *(f"{size}:{stamp}" for size, stamp in stamps)]),
                num_bytes=sum(size for size, _ in stamps) + (held[-1].at or 0) - (held[0].at or 0),
            )  # fmt: skip

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that reads one span of rows with their images."""
        readers: dict[str, TableReader] = {}

        def read(shard: Shard) -> Iterator[pa.Table]:
            assert shard.part is not None
            folder = ImageFolder(shard.uri)
            rows = enumerate(read_lines(shard.uri, self._wanted, shard.part, shard.begin, readers), shard.part[0])
            samples = (self._sample(folder, number, columns, row) for number, (columns, row) in rows)
            yield from tables_of(samples, shard.name, ctx.notes, require_caption=self.require_caption)
            for table in readers.values():
                ctx.notes.update(table.take_notes())

        return read

    def _sample(self, folder: ImageFolder, number: int, columns: Columns, row: dict[str, Any] | None) -> InputSample:
        if row is None:
            return InputSample(
                key=f"line {number + 1}", problem=InputReject.BROKEN_METADATA, detail="not a JSON object, or too long"
            )
        name = row.get(columns.file)
        key = str(name or f"line {number + 1}")[:MAX_KEY_CHARS]
        sample = InputSample(key=key, metadata=row, may_have_caption=False)
        for there, expected in ((columns.file, self.file_column), (columns.caption, self.caption_column)):
            if there not in (expected, None):
                sample.notes.append(f"column {there!r} read as {expected}")
        caption = first_caption(row.get(columns.caption), sample.notes) if columns.caption else None
        sample.text = None if caption is None else caption.encode("utf-8", "surrogatepass")
        if "_more" in row:
            sample.notes.append("rows of csv with more fields than columns")
        if isinstance(name, str) and name:
            folder.load(sample, name, self.max_image_bytes)
        else:
            sample.detail = f"no text in column {columns.file!r}"
        return sample


def _captions_file(url: str) -> str:
    fs, path = url_to_fs(url)
    if not fs.isdir(path):
        return url
    for name in CAPTIONS_FILES:
        if fs.isfile(posixpath.join(path, name)):
            return f"{url.rstrip('/')}/{name}"
    raise PlanError(f"folder {url!r} has no captions file; looked for {', '.join(CAPTIONS_FILES)}")
