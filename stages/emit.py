"""Write the dataset: WebDataset tars, a table of everything but pixels, the rejects, a data card and a report.

Reads   source_images (list<binary>), source_format (string), duplicate_cluster_id (string: each image is there once),
        and every other column that some stage wrote, among them target_image (binary), source_mask_png (binary),
        target_mask_png (binary), source_latent (binary) and target_latent (binary)
Writes  dataset_shard (string)
Drops   nothing
Source  WebDataset file layout; Hugging Face dataset cards.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from pipeline.run.rejects import REJECT_SCHEMA
from pipeline.stage import PublishedFiles, RunSummary, SinkStage
from samples.columns import COLUMNS, PARENT_ID, SAMPLE_ID, column
from samples.members import JSON, MEMBERS
from samples.shard_check import wrong_shards
from samples.shards import SHARD_LIST, SPLIT
from stages.report.dataset_card import is_in_json
from stages.report.pages import further_member, write_card, write_report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipeline.context import Context

FILLED_COLUMNS = ("session_id", "turn")
"""Columns that are those of a session of one turn where the input has none."""
OWN_COLUMNS = (*FILLED_COLUMNS, "dataset_shard")


class Emit(SinkStage):
    """One tar a shard, members `<id>.source.<format>` to `<id>.json`. Their bytes depend on the samples alone."""

    version: ClassVar[int] = 3
    reads: ClassVar = ("source_images", "source_format", "duplicate_cluster_id")
    reads_if_present: ClassVar = (
        *(n for n in MEMBERS if n != "source_images"),
        *(n for n, c in COLUMNS.items() if not c.bulk and n not in (SAMPLE_ID, "dataset_shard")),
    )  # fmt: skip
    writes: ClassVar = ("dataset_shard",)
    suffix: ClassVar = ".tar"
    list_file: ClassVar = SHARD_LIST

    report_samples: int = Field(default=240, ge=0)
    """Samples on the report's contact sheet."""

    def open(self, ctx: Context) -> Callable[[str, Iterator[pa.Table], Path], Iterator[pa.Table]]:
        """A function that writes the tar of one shard."""

        def write(shard: str, tables: Iterator[pa.Table], path: Path) -> Iterator[pa.Table]:
            name = f"{shard}{self.suffix}"
            with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
                for table in tables:
                    names = [n for n in MEMBERS if n in table.column_names]
                    light = table.select([n for n in table.column_names if n not in names]).to_pylist()
                    for row, *values in zip(light, *(table[n] for n in names), strict=True):
                        pixels = dict(zip(names, values, strict=True))
                        _add_sample(tar, row, pixels)
                        ctx.notes.update(_further_members(pixels))
                    yield table.append_column("dataset_shard", pa.array([name] * table.num_rows, pa.string()))

        return write

    def collate(self, folder: Path, run: RunSummary) -> None:
        """samples.parquet, rejects.parquet, shards.json, README.md and report.html."""
        light = [n for n in run.columns if not COLUMNS[n].bulk]
        columns = [n for n in (SAMPLE_ID, PARENT_ID, *OWN_COLUMNS) if n not in light] + light
        _write_samples(folder / "samples.parquet", run, light, columns)
        with pq.ParquetWriter(folder / "rejects.parquet", REJECT_SCHEMA, compression="zstd") as writer:
            for table in run.rejects():
                writer.write_table(table)
        shards = {"dataset": run.manifest["name"], "shards": _shard_list(run)}
        (folder / SHARD_LIST).write_text(json.dumps(shards, indent=1) + "\n", encoding="utf-8")
        write_card(folder / "README.md", run, columns)
        write_report(folder / "report.html", run, light, self.report_samples)

    def check(self, published: PublishedFiles, *, deep: bool) -> Iterator[str]:
        """Yield each fault of shards.json and the tars. `deep` hashes and reads every tar."""
        return wrong_shards(published.folder, published.sizes, published.open, deep=deep)


def _shard_list(run: RunSummary) -> list[dict[str, Any]]:
    splits = _splits(run)
    return [
        {"file": f"{name}.tar", "samples": entry["rows"], "bytes": entry["bytes"], "sha256": entry["sha256"]}
        | ({"splits": dict(sorted(splits[name].items()))} if name in splits else {})
        for name, entry in sorted(run.shard_files.items())
    ]


def _splits(run: RunSummary) -> dict[str, Counter[str]]:
    """Shard -> samples by the value of `split`, where some stage wrote it. No value counts as an empty name."""
    found: dict[str, Counter[str]] = {}
    if SPLIT in run.columns:
        for shard, table in run.tables(sorted(run.shard_files), [SPLIT]):
            found.setdefault(shard, Counter()).update(value or "" for value in table[SPLIT].to_pylist())
    return found


def _further_members(pixels: dict[str, pa.Scalar]) -> Iterator[str]:
    """A note for each value of a list that is not its first."""
    for name, found in pixels.items():
        if MEMBERS[name].is_list and found.is_valid:
            yield from (further_member(MEMBERS[name].role, number) for number in range(1, len(found)))


def sample_json(row: dict[str, Any]) -> dict[str, Any]:
    """The content of the sample's JSON member: all light columns that have a value, session and turn filled in.

    Columns of 64 bits without sign stay in samples.parquet: readers of JSON, `datasets` among them, fail on half of
    their values.
    """
    known = {k: v for k, v in row.items() if v is not None and is_in_json(k)}
    return {"session_id": known[SAMPLE_ID], "turn": 1, **known}


def _add_sample(tar: tarfile.TarFile, row: dict[str, Any], pixels: dict[str, pa.Scalar]) -> None:
    own = row[SAMPLE_ID]
    for name, found in pixels.items():
        declared = MEMBERS[name]
        values = (found if declared.is_list else [found]) if found.is_valid else []
        formats = row[declared.format_column] if declared.format_column else ""
        for number, value in enumerate(values):
            suffix = declared.suffix(formats[number] if isinstance(formats, list) else formats, number)
            _add_member(tar, f"{own}.{suffix}", value.as_buffer())
    text = json.dumps(sample_json(row), sort_keys=True, ensure_ascii=False).encode()
    _add_member(tar, f"{own}.{JSON}", text)


def _add_member(tar: tarfile.TarFile, name: str, content: bytes | pa.Buffer) -> None:
    """A member whose header depends on name and size only: no time, no owner."""
    info = tarfile.TarInfo(name)
    info.size = len(content) if isinstance(content, bytes) else content.size
    info.mode = 0o644
    tar.addfile(info, io.BytesIO(content))


def _write_samples(path: Path, run: RunSummary, light: list[str], columns: list[str]) -> None:
    schema = pa.schema([(n, column(n).type) for n in columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for shard, table in run.tables(sorted(run.shard_files), light):
            rows = table.num_rows
            filled = {
                "session_id": table[SAMPLE_ID],
                "turn": pa.array([1] * rows, pa.int32()),
                "dataset_shard": pa.array([f"{shard}.tar"] * rows, pa.string()),
                PARENT_ID: pa.nulls(rows, pa.string()),
            }
            for name in columns:
                if name not in table.column_names:
                    table = table.append_column(name, filled[name])  # noqa: PLW2901  the batch, completed
                elif name in FILLED_COLUMNS:
                    value = pc.coalesce(table[name], filled[name])
                    table = table.set_column(table.column_names.index(name), name, value)  # noqa: PLW2901
            writer.write_table(table.select(schema.names))
