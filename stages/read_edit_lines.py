"""Read edits from JSON lines that name images as files or on the web: Pico-Banana-400K's edits and sessions.

Reads   JSON lines with `text`, `summarized_text`, `output_image`, and `open_image_input_url` or `local_input_image`; or
        with a session's images under `files` and its instructions under `metadata_edit_turn_prompts`. Images are files
        beside the lines, or are downloaded, as `base_url` says
Writes  source_raw (binary, virtual: read again on demand), source_sha256 (string), source_key (string),
        source_size_bytes (int64), source_url (string), source_metadata (string, JSON), source_licence (string),
        caption (string), target_raw (binary, virtual), mask_raw (binary, virtual), source_caption (string),
        target_caption (string), instruction (string), reverse_instruction (string), edit_object (string),
        edit_type (string), edit_writer (string), instructions (list<string>), session_id (string), turn (int32)
Drops   lines that are no JSON object, edits without instruction, source or target image, turns whose image before is
        missing, files that are empty, too big or outside of the folder, and URLs that give no image that may be used
Source  Qian et al. 2025, Pico-Banana-400K; files as in apple/pico-banana-400k, README at 0df2071, script at 89dc8af.
"""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from core.errors import PlanError
from pipeline.plan.inputs import identify_inputs, name_shards
from pipeline.stage import Needs, Shard, SourceStage
from pipeline.store.records import digest
from stages.download.kept_shard import check_proxies, kept_shard
from stages.download.settings import DownloadSettings
from stages.download.status import TRANSIENT, UNASKED, LaionReject, UrlStatus, without_credentials
from stages.inputs.edit_lines import NAMES, LineEdit, LineImages, edits_of_line, take_images
from stages.inputs.edit_rows import TRIPLE_COLUMNS, EditReject, Needed, triple_row
from stages.inputs.edit_tables import read_json_lines, spans_of_lines
from stages.inputs.rows import in_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    import pyarrow as pa

    from pipeline.context import Context
    from stages.inputs.rows import InputSample

SUFFIXES = (".jsonl", ".ndjson")
NEEDED = Needed(captions=False, target=True)
ASKED = [*EditReject, *(reason for reason in LaionReject if reason not in UNASKED), LaionReject.NOT_AN_URL]

LineReject = StrEnum(  # type: ignore[misc]  # the ends of a URL are those of a download
    "LineReject", list(dict.fromkeys((reason.name, reason.value) for reason in ASKED))
)

FINAL = frozenset({*map(str, EditReject)} - {*map(str, LaionReject)} | {LaionReject.NOT_AN_URL.value})
"""Ends that the lines and the files beside them decide; an image without bytes may have been downloaded."""


class ReadEditLines(DownloadSettings, SourceStage):
    """Edits with their images, one shard for every `rows_per_shard` lines; a session is one line.

    What is downloaded, is downloaded once a shard, into a tar and a table of statuses that the run folder keeps.
    """

    version: ClassVar[int] = 1
    writes: ClassVar = TRIPLE_COLUMNS
    rejects: ClassVar = LineReject
    retryable: ClassVar[frozenset[str]] = frozenset(reason.value for reason in TRANSIENT)
    final: ClassVar[frozenset[str]] = FINAL
    needs: ClassVar = Needs(packages=("aiohttp", "PIL"))

    rows_per_shard: int = Field(default=1000, ge=1)
    """Lines in one shard."""
    base_url: str | None = Field(default=None, pattern=r"^https?://[^\s?#/@]+(/[^\s?#]*)?$")
    """Address below which the images are that lines name without a host. It allows downloads: of those, and of source
    images that have no `local_input_image`. It names no user. None: all images are files beside the lines."""

    def list_shards(self, inputs: Sequence[str]) -> list[Shard]:
        """Shards `<file>-00000` … of each file. Raises `PlanError` when there are no lines."""
        check_proxies(self.speed)
        files = identify_inputs(inputs, SUFFIXES)
        shards = [
            shard
            for name, url in name_shards(list(files)).items()
            for shard in self._shards_of(url, name, files[url][0])
        ]
        if not shards:
            raise PlanError(f"{', '.join(inputs)[:200]} hold no lines")
        return shards

    def _shards_of(self, url: str, name: str, identity: str) -> Iterator[Shard]:
        """The shards of one file. Their identity changes with the image files that the lines name."""
        images = LineImages(url)

        def stamps_of(row: dict[str, Any]) -> list[tuple[int, str]]:
            edits = edits_of_line(row, 0, name, self.base_url)
            files = (one.place for line in edits for one in line.images.values() if not one.is_url)
            return [images.stamp_of(images.found(file)) for file in dict.fromkeys(files)]

        for part, span in enumerate(spans_of_lines(url, self.rows_per_shard, stamps_of)):
            yield Shard(
                name=f"{name}-{part:05d}", uri=url, part=(span.start, span.stop), begin=span.begin,
                identity=digest([identity, span.stamp]), num_bytes=span.num_bytes,
            )  # fmt: skip

    def open(self, ctx: Context) -> Callable[[Shard], Iterator[pa.Table]]:
        """A function that reads one span of lines, its images downloaded before unless `ctx.store` has them."""

        def rows(shard: Shard, samples: Iterator[InputSample]) -> Iterator[dict[str, Any]]:
            images = LineImages(shard.uri)
            for edits in self._lines(shard):
                downloaded = {url: next(samples) for url in _urls_of(edits)}
                for line in edits:
                    edit = take_images(line, downloaded, images, self.max_image_bytes)
                    row = triple_row(edit, shard.name, NAMES, NEEDED)
                    url = row["source_url"]
                    yield {**row, "source_url": None if url is None else without_credentials(url)}

        def read(shard: Shard) -> Iterator[pa.Table]:
            with self._samples(ctx, shard) as samples:
                yield from in_tables(rows(shard, samples), TRIPLE_COLUMNS)

        return read

    def _lines(self, shard: Shard) -> Iterator[list[LineEdit]]:
        assert shard.part is not None
        file = shard.name.rpartition("-")[0]
        rows = read_json_lines(shard.uri, *shard.part, shard.begin or 0)
        for number, row in enumerate(rows, shard.part[0]):
            yield edits_of_line(row, number, f"{file}/{number}", self.base_url)

    @contextlib.contextmanager
    def _samples(self, ctx: Context, shard: Shard) -> Iterator[Iterator[InputSample]]:
        """What was downloaded for the shard, URL by URL in the order of its lines."""
        from stages.download.store import read_back

        if self.base_url is None:
            yield iter(())
            return
        with kept_shard(ctx, shard.name, lambda: self.statuses(shard), self) as (tar, statuses):
            yield read_back(tar, statuses, ctx.stage_name, shard.name)

    def statuses(self, shard: Shard) -> list[UrlStatus]:
        """The URLs of the shard's lines, each once a line."""
        return [
            UrlStatus(key=f"{number:09d}-{place}", url=without_credentials(url), caption=None, metadata="{}")
            for number, edits in enumerate(self._lines(shard))
            for place, url in enumerate(_urls_of(edits))
        ]


def _urls_of(edits: Sequence[LineEdit]) -> list[str]:
    found = (one.place for line in edits for one in line.images.values() if one.is_url)
    return list(dict.fromkeys(found))
