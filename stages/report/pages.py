"""Gather the content of the data card and the HTML report from a finished run. Owns no layout."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from samples.columns import COLUMNS, SAMPLE_ID
from samples.members import JSON, MEMBERS
from stages.report.dataset_card import Card, lacks_target, render_card
from stages.report.histograms import CategoryTally, NumericTally
from stages.report.html import Report, ReportSample, StageCount, render_report
from stages.report.thumbnails import thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.stage import RunSummary

CATEGORY_COLUMNS = ("edit_type", "edit_writer", "reverse_writer", "original_format", "target_pool", "split")
SHOWN = (
    "anchor_image", "target_image", "source_mask_png", "target_mask_png", "region_mask_png", "soft_mask_png",
)  # fmt: skip
"""Columns of the images on the report's contact sheet, besides the first source image."""
NO_HISTOGRAM = ("source_dhash", "latent_size_px", "synthesis_seed")
THUMBNAIL_PX = 288
MAX_SAMPLE_SHARDS = 12
"""The contact sheet takes its samples from at most so many shards, evenly spread, to read few pixels."""


def further_member(role: str, number: int) -> str:
    """The note that `emit` counts for samples with this further value of a list. The card reads it."""
    return f"samples with a member {role}{number}"


def write_card(path: Path, run: RunSummary, columns: Sequence[str]) -> None:
    """The Hugging Face data card. `columns` are those of samples.parquet."""
    card = Card(
        name=str(run.manifest["name"]),
        summary=str(run.manifest["summary"]),
        license=str(run.manifest["license"]),
        languages=[str(run.manifest["language"])],
        num_samples=_num_samples(run),
        num_shards=len(run.shard_files),
        members=_members(run),
        columns=columns,
        stages=_stage_counts(run, with_seconds=False),
        manifest=run.manifest,
    )
    path.write_text(render_card(card), encoding="utf-8")


def write_report(path: Path, run: RunSummary, light: Sequence[str], num_samples: int) -> None:
    """The HTML report."""
    report = Report(
        title=str(run.manifest["name"]),
        summary=str(run.manifest["summary"]),
        manifest=run.manifest,
        stages=_stage_counts(run, with_seconds=True),
        histograms=_histograms(run, light),
        samples=list(_samples(run, light, num_samples)),
        num_samples_total=_num_samples(run),
        lacks_target=lacks_target(run.columns, _members(run)),
    )
    path.write_text(render_report(report), encoding="utf-8")


def _num_samples(run: RunSummary) -> int:
    return sum(int(entry["rows"]) for entry in run.shard_files.values())


def _members(run: RunSummary) -> list[str]:
    """Suffixes of all members in the tars."""
    suffixes: list[str] = []
    for declared in (one for name, one in MEMBERS.items() if name in run.columns):
        formats = _values(run, declared.format_column) if declared.format_column else {""}
        num_values = 1 + (_num_further(run, declared.role) if declared.is_list else 0)
        suffixes += [declared.suffix(one, number) for number in range(num_values) for one in sorted(formats)]
    return [*suffixes, JSON]


def _values(run: RunSummary, column: str) -> set[str]:
    """The distinct values of a column, or of its lists."""
    if column not in run.columns:
        return set()
    tables = (table for _, table in run.tables(sorted(run.shard_files), [column]))
    is_list = pa.types.is_list(COLUMNS[column].type)
    values = (pc.list_flatten(table[column]) if is_list else table[column] for table in tables)
    return {value for found in values for value in found.to_pylist()} - {None}


def _num_further(run: RunSummary, role: str) -> int:
    """The number of further values of the sample that has most."""
    notes = {note for stage in run.stages for note in stage["notes"]}
    return next(number for number in count() if further_member(role, number + 1) not in notes)


def _stage_counts(run: RunSummary, *, with_seconds: bool) -> list[StageCount]:
    return [
        StageCount(
            name=s["name"], fingerprint=s["fingerprint"], rows_in=s["rows_in"], rows_out=s["rows_out"],
            rejects=s["rejects"], notes=s["notes"], models=s["models"], licences=s["licences"],
            seconds=s["seconds"] if with_seconds else 0.0,
        )
        for s in run.stages
    ]  # fmt: skip


def _histograms(run: RunSummary, light: Sequence[str]) -> list[Any]:
    tallies: dict[str, NumericTally | CategoryTally] = {}
    for name in light:
        declared = COLUMNS[name]
        if name in CATEGORY_COLUMNS:
            tallies[name] = CategoryTally(column=name, unit=declared.unit)
        elif (pa.types.is_integer(declared.type) or pa.types.is_floating(declared.type)) and name not in NO_HISTOGRAM:
            tallies[name] = NumericTally(column=name, unit=declared.unit)
    for _, table in run.tables(sorted(run.shard_files), list(tallies)):
        for name, tally in tallies.items():
            tally.add(table[name])
    return [tally.histogram() for tally in tallies.values()]


def _samples(run: RunSummary, light: Sequence[str], wanted: int) -> Iterator[ReportSample]:
    names = sorted(run.shard_files)
    if not names or not wanted:
        return
    chosen = [
        names[i * len(names) // min(len(names), MAX_SAMPLE_SHARDS)] for i in range(min(len(names), MAX_SAMPLE_SHARDS))
    ]
    share = -(-wanted // len(chosen))
    left = wanted
    shown = [n for n in SHOWN if n in run.columns]
    for name in chosen:
        taken = 0
        for _, table in run.tables([name], ["source_images", *shown, *light]):
            for row in table.slice(0, min(share - taken, left)).to_pylist():
                images = {"source": thumbnail(row.pop("source_images")[0], THUMBNAIL_PX)}
                found = {MEMBERS[n].role: row.pop(n) for n in shown}
                images |= {role: thumbnail(image, THUMBNAIL_PX) for role, image in found.items() if image is not None}
                if row.get("candidates") is not None:
                    row["candidates"] = _candidates_text(row["candidates"])
                yield ReportSample(sample_id=row[SAMPLE_ID], images=images, fields=row)
                taken, left = taken + 1, left - 1
            if taken >= share or left <= 0:
                break


def _candidates_text(candidates: Sequence[dict[str, Any]]) -> str:
    """One line on the candidates of an edit, whose settings and scores would fill the page."""
    kept = ", ".join(str(one["number"]) for one in candidates if one["is_kept"])
    return f"{len(candidates)}, of which the following passed: {kept or 'none'}"
