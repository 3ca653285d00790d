"""Gather the content of the data card and the HTML report from a finished run. Owns no layout."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from samples.members import JSON, MEMBERS
from stages.report.dataset_card import Card, lacks_target, render_card
from stages.report.html import Report, ReportSample, StageCount, render_report
from stages.report.licences import shown_licences

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pipeline.sink import RunSummary
    from samples.licence_file import DatasetLicences
    from stages.report.tallies import Tallies


def further_member(role: str, number: int) -> str:
    """The note that `emit` counts for samples with this further value of a list. The card reads it."""
    return f"samples with a member {role}{number}"


def write_card(
    path: Path, run: RunSummary, columns: Sequence[str], tallies: Tallies, licences: DatasetLicences
) -> None:  # fmt: skip
    """The Hugging Face data card. `columns` are those of samples.parquet, `tallies` the counts of all shards."""
    card = Card(
        name=str(run.manifest["name"]),
        summary=str(run.manifest["summary"]),
        license=str(run.manifest["license"]),
        languages=[str(run.manifest["language"])],
        num_samples=_num_samples(run),
        num_shards=len(run.shard_files),
        members=_members(run, tallies),
        columns=columns,
        stages=_stage_counts(run, with_seconds=False),
        manifest=run.manifest,
        licences=shown_licences(licences),
    )
    path.write_text(render_card(card), encoding="utf-8")


def write_report(
    path: Path, run: RunSummary, tallies: Tallies, samples: Sequence[ReportSample], licences: DatasetLicences
) -> None:  # fmt: skip
    """The HTML report: `tallies` are the counts of all shards, `samples` those on the contact sheet."""
    report = Report(
        title=str(run.manifest["name"]),
        summary=str(run.manifest["summary"]),
        manifest=run.manifest,
        stages=_stage_counts(run, with_seconds=True),
        histograms=list(tallies.histograms()),
        samples=samples,
        num_samples_total=_num_samples(run),
        lacks_target=lacks_target(run.columns, _members(run, tallies)),
        licences=shown_licences(licences),
    )
    path.write_text(render_report(report), encoding="utf-8")


def _num_samples(run: RunSummary) -> int:
    return sum(int(entry["rows"]) for entry in run.shard_files.values())


def _members(run: RunSummary, tallies: Tallies) -> list[str]:
    """Suffixes of all members in the tars."""
    suffixes: list[str] = []
    for declared in (one for name, one in MEMBERS.items() if name in run.columns):
        formats = tallies.formats(declared.format_column) if declared.format_column else [""]
        num_values = 1 + (_num_further(run, declared.role) if declared.is_list else 0)
        suffixes += [declared.suffix(one, number) for number in range(num_values) for one in formats]
    return [*suffixes, JSON]


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
