"""Write the dataset: WebDataset tars, a table of everything but pixels, rejects, licences, data card and report.

Reads   source_images (list<binary>), source_format (string), duplicate_cluster_id (string: each image is there once),
        and every other column that some stage wrote, among them target_image (binary), source_mask_png (binary),
        target_mask_png (binary), source_latent (binary) and target_latent (binary)
Writes  dataset_shard (string), and in samples.parquet for every row parent_id (string), session_id (string) and
        turn (int32)
Drops   nothing
Source  WebDataset file layout; Hugging Face dataset cards.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from core.strict_json import parse
from pipeline.run.rejects import REJECT_SCHEMA
from pipeline.stage import SinkStage
from samples.columns import COLUMNS, PARENT_ID, SAMPLE_ID, arrow_schema
from samples.licence_file import LICENCE_FILE
from samples.members import JSON, MEMBERS
from samples.shard_check import wrong_shards
from samples.shards import SHARD_LIST, SPLIT
from samples.tar_writer import TarWriter
from stages.report.contact_sheet import ContactSheet, leave_thumbnails
from stages.report.dataset_card import is_in_json
from stages.report.joined_table import JoinedTable
from stages.report.licences import licences_of
from stages.report.pages import further_member, write_card, write_report
from stages.report.tallies import ShardCounts, Tallies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from pipeline.context import Context
    from pipeline.sink import PublishedFiles, RunSummary, SinkShard

COUNTS = "counts"
"""Name of the text with a shard's counts."""
_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


class Emit(SinkStage):
    """One tar a shard, members `<id>.source.<format>` to `<id>.json`. Their bytes depend on the samples alone."""

    version: ClassVar[int] = 5
    reads: ClassVar = ("source_images", "source_format", "duplicate_cluster_id")
    reads_if_present: ClassVar = (
        *(n for n in MEMBERS if n != "source_images"),
        *(n for n, c in COLUMNS.items() if not c.bulk and n not in (SAMPLE_ID, "dataset_shard")),
    )  # fmt: skip
    writes: ClassVar = (PARENT_ID, "session_id", "turn", "dataset_shard")
    suffix: ClassVar = ".tar"
    list_file: ClassVar = SHARD_LIST

    report_samples: int = Field(default=240, ge=0)
    """Samples on the report's contact sheet."""

    def open(self, ctx: Context) -> Callable[[SinkShard, Iterator[pa.Table]], Iterator[pa.Table]]:
        """A function that writes the tar of one shard, counts its values, and makes thumbnails where it is chosen."""

        def write(shard: SinkShard, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
            tallies: Tallies | None = None
            with TarWriter(shard.file) as tar:
                for table in tables:
                    ctx.notes.update(_add_samples(tar, table))
                    tallies = tallies or Tallies(_light(table.column_names))
                    tallies.add(table)
                    yield _completed(table, f"{shard.name}{self.suffix}")
            if tallies is not None:
                shard.summary[COUNTS] = tallies.counts().model_dump_json()
                leave_thumbnails(shard, self.report_samples)

        return write

    def collate(self, folder: Path, run: RunSummary) -> None:
        """samples.parquet, rejects.parquet, shards.json, licences.json, README.md and report.html."""
        light = _light(run.columns)
        columns = (SAMPLE_ID, *(n for n in self.writes if n not in light), *light)
        tallies, sheet = Tallies(light), ContactSheet(run, self.report_samples, self.suffix)
        splits: dict[str, dict[str, int]] = {}
        with JoinedTable(folder / "samples.parquet", arrow_schema(columns)) as samples:
            for part in run.parts():
                counts = parse(ShardCounts, part.summary.get(COUNTS, "").encode(), part.file)
                tallies.merge(counts)
                splits[part.shard] = _split_counts(counts)
                for table in part.tables:
                    samples.write(table)
                    sheet.add(part.shard, table.select([SAMPLE_ID, *light]))
        with JoinedTable(folder / "rejects.parquet", REJECT_SCHEMA) as rejects:
            for table in run.rejects():
                rejects.write(table)
        shards = {"dataset": run.manifest["name"], "shards": _shard_list(run, splits, self.suffix)}
        (folder / SHARD_LIST).write_text(json.dumps(shards, indent=1) + "\n", encoding="utf-8")
        licences = licences_of(run, tallies)
        (folder / LICENCE_FILE).write_text(licences.model_dump_json(indent=1) + "\n", encoding="utf-8")
        write_card(folder / "README.md", run, columns, tallies, licences)
        write_report(folder / "report.html", run, tallies, sheet.samples, licences)

    def check(self, published: PublishedFiles, *, deep: bool) -> Iterator[str]:
        """Yield each fault of shards.json and the tars. `deep` hashes and reads every tar."""
        return wrong_shards(published.folder, published.sizes, published.open, deep=deep)


def _light(names: Sequence[str]) -> list[str]:
    return [name for name in names if not COLUMNS[name].bulk and name != SAMPLE_ID]


def _shard_list(run: RunSummary, splits: Mapping[str, dict[str, int]], suffix: str) -> list[dict[str, Any]]:
    return [
        {"file": f"{name}{suffix}", "samples": entry["rows"], "bytes": entry["bytes"], "sha256": entry["sha256"]}
        | ({"splits": splits[name]} if splits[name] else {})
        for name, entry in sorted(run.shard_files.items())
    ]


def _split_counts(counts: ShardCounts) -> dict[str, int]:
    """Samples by the value of `split`, where some stage wrote it. No value counts as an empty name."""
    if SPLIT not in counts.categories:
        return {}
    found = counts.categories[SPLIT]
    nameless = {"": found.counts.get("", 0) + found.num_missing}
    return dict(sorted((found.counts | {name: n for name, n in nameless.items() if n}).items()))


def _completed(table: pa.Table, tar_name: str) -> pa.Table:
    """The rows with values in the columns that `emit` writes: session and turn are the row's own where it has none."""
    rows = table.num_rows
    own = {
        PARENT_ID: pa.nulls(rows, pa.string()), "session_id": table[SAMPLE_ID],
        "turn": pa.repeat(pa.scalar(1, pa.int32()), rows), "dataset_shard": pa.repeat(tar_name, rows),
    }  # fmt: skip
    for name, values in own.items():
        if name in table.column_names:
            filled = pc.coalesce(table[name], values)
            table = table.set_column(table.column_names.index(name), name, filled)
        else:
            table = table.append_column(name, values)
    return table


def _add_samples(tar: TarWriter, table: pa.Table) -> Iterator[str]:
    """Write the samples of a table. Yields a note for each value of a list that is not its first.

    Columns of 64 bits without sign stay in samples.parquet: readers of JSON, `datasets` among them, fail on half of
    their values.
    """
    stored = [MEMBERS[name] for name in MEMBERS if name in table.column_names]
    texts = table.select([name for name in table.column_names if name not in MEMBERS and is_in_json(name)])
    for row, *cells in zip(texts.to_pylist(), *(table[member.column] for member in stored), strict=True):
        own = row[SAMPLE_ID]
        for member, cell in zip(stored, cells, strict=True):
            values = (cell if member.is_list else (cell,)) if cell.is_valid else ()
            formats = row[member.format_column] if member.format_column else ""
            for number, value in enumerate(values):
                suffix = member.suffix(formats[number] if isinstance(formats, list) else formats, number)
                tar.add(f"{own}.{suffix}", value.as_buffer())
                if number:
                    yield further_member(member.role, number)
        tar.add(f"{own}.{JSON}", _ENCODER.encode(sample_json(row)).encode())


def sample_json(row: dict[str, Any]) -> dict[str, Any]:
    """The content of the sample's JSON member: the columns that have a value, session and turn filled in."""
    known = {name: value for name, value in row.items() if value is not None}
    return {"session_id": known[SAMPLE_ID], "turn": 1, **known}
