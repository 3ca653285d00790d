"""Gather the licences of a finished run for licences.json, the data card and the report. Owns no layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.licences.claims import warnings
from core.licences.uses import StageModels, StatedBy, model_uses
from core.licences.verdict import verdict_of
from core.licences.wording import verdict_lines
from samples.licence_file import DatasetLicences, InputLicence, ModelLicence, shown_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from pipeline.sink import RunSummary
    from stages.report.tallies import Tallies

LICENCE_COLUMNS: dict[Literal["source", "target"], str] = {"source": "source_licence", "target": "target_licence"}
"""Images of a sample -> column with their licence."""
MOST_LISTED = 1000
"""Licences of images that are listed; where an input makes up more, the rest is counted as unknown."""


def licences_of(run: RunSummary, tallies: Tallies) -> DatasetLicences:
    """The licences of the run's inputs, by the samples that are left, and of its models."""
    stated = run.manifest["stated_licences"]
    counted = sorted(_inputs(run, tallies, stated["input"]), key=lambda one: -one.samples)
    listed, others = counted[:MOST_LISTED], counted[MOST_LISTED:]
    return DatasetLicences(
        dataset=run.manifest["name"], license=run.manifest["license"], inputs=tuple(listed),
        samples_under_others=sum(one.samples for one in others), models=tuple(_models(run, stated["models"])),
    )  # fmt: skip


def _inputs(run: RunSummary, tallies: Tallies, stated: str | None) -> Iterator[InputLicence]:
    """Samples by the licence of their images. Those that state none have the manifest's."""
    num_samples = sum(int(entry["rows"]) for entry in run.shard_files.values())
    for images, column in LICENCE_COLUMNS.items():
        if images == "target" and column not in run.columns:
            continue  # a target that was not retrieved is the sample's own
        values = tallies.values(column)
        missing = num_samples - sum(values.values())
        for licence, samples in values.items():
            yield InputLicence(images=images, licence=licence, stated_by=StatedBy.SAMPLE, samples=samples)
        if missing:
            by = StatedBy.NOBODY if stated is None else StatedBy.MANIFEST
            yield InputLicence(images=images, licence=stated, stated_by=by, samples=missing)


def _models(run: RunSummary, stated: dict[str, str]) -> Iterator[ModelLicence]:
    revisions = {model: revision for stage in run.stages for model, revision in stage["models"].items()}
    stages = (StageModels(stage=s["name"], licences=s["licences"], roles=s["roles"]) for s in run.stages)
    for use in model_uses(stages, stated):
        yield ModelLicence(
            model=use.model, revision=revisions.get(use.model), role=use.role, licence=use.licence,
            stated_by=use.stated_by, card_licence=use.card_licence, stages=use.stages,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownLicences:
    """The licences as the data card and the report show them."""

    verdict: str
    """The class that decides."""
    lines: Sequence[str]
    """The verdict in words."""
    warnings: Sequence[str]
    inputs: Sequence[tuple[str, str, int, str]]
    """(licence, images, samples, who states it) of the licences of most samples."""
    num_more: int
    """Licences of images that are not shown."""
    models: Sequence[tuple[str, str, str, str]]
    """(model, licence, role, who states it)."""


MOST_SHOWN = 20


def shown_licences(found: DatasetLicences) -> ShownLicences:
    """The verdict, the licences of images by count, and the models by role."""
    verdict = verdict_of(found.uses)
    return ShownLicences(
        verdict=str(verdict.licence_class),
        lines=list(verdict_lines(verdict)),
        warnings=warnings(found.license, found.uses, found.model_uses),
        inputs=[(shown_text(one.licence), one.images, one.samples, one.stated_by) for one in found.inputs[:MOST_SHOWN]],
        num_more=max(0, len(found.inputs) - MOST_SHOWN),
        models=[(one.model, shown_text(one.licence), one.role, one.stated_by) for one in found.models],
    )
