"""Compares scores with published rows, only where networks, views, samples, regions and settings agree.

A value that needs no network (L1, L2, SSIM) is compared without one. A setting that a row states must be the editor's
setting of this name; an editor that has no such setting is of another kind, and the setting does not apply to it. What
decided outputs made elsewhere is not known: their rows are compared, and the unknown conditions are listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from evaluation.measure import MEASURES
from evaluation.published.rows import NOT_STATED, checkpoints, published_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from evaluation.benchmark import Measure
    from evaluation.published.rows import PublishedRow
    from evaluation.scores import Scores, Section

WHOLE = "whole images"
"""The name of the view of a network that sees each image by its own preprocessing."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One published row beside our scores."""

    row: PublishedRow
    values: Mapping[str, float] = field(default_factory=dict)
    """Our name of a measure, with its network, -> the published value. Empty when the row cannot be compared."""
    reasons: tuple[str, ...] = ()
    """Why the row, or some of its values, cannot be compared."""
    unknown: tuple[str, ...] = ()
    """Conditions of the row that are not known of our outputs."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One evaluation and all published rows of its benchmark."""

    scores: Scores
    rows: tuple[Compared, ...]
    num_elsewhere: Mapping[str, int]
    """Other benchmark -> number of published rows."""


def compare(scores: Scores, rows: Sequence[PublishedRow] | None = None) -> Comparison:
    """The published rows (by default all) beside these scores."""
    known = published_rows() if rows is None else rows
    elsewhere: dict[str, int] = {}
    for one in known:
        if one.table.benchmark != scores.benchmark:
            elsewhere[one.table.benchmark] = elsewhere.get(one.table.benchmark, 0) + 1
    ours = [one for one in known if one.table.benchmark == scores.benchmark]
    return Comparison(scores, tuple(_compared(scores, one) for one in ours), elsewhere)


def _compared(scores: Scores, row: PublishedRow) -> Compared:
    section = scores.sections.get(row.row.section)
    if section is None:
        is_stated = row.row.section != NOT_STATED
        reason = f"section {row.row.section!r} is not scored here" if is_stated else "its section is not stated"
        return Compared(row, reasons=(reason,))
    differing = [*_samples(section, row), *_notes(scores, row)]
    unknown: list[str] = []
    if scores.editor is None:
        unknown = [*([] if row.masks == NOT_STATED else ["masks"]), *row.settings]
    else:
        differing += [*_masks(scores.editor, row), *_settings(scores.editor, row)]
    values, reasons = _values(scores, section, row)
    if differing:
        return Compared(row, reasons=tuple(dict.fromkeys((*differing, *reasons))))
    return Compared(row, values, tuple(dict.fromkeys(reasons)), tuple(unknown) if values else ())


def _samples(section: Section, row: PublishedRow) -> Iterable[str]:
    there = row.table.num_samples.get(row.row.section)
    if there is not None and there != section.num_samples:
        yield _apart("samples", section.num_samples, there)


def _notes(scores: Scores, row: PublishedRow) -> Iterable[str]:
    for name, there in row.table.notes.items():
        here = scores.notes.get(name)
        if here != there:
            yield _apart(name, here, there)


def _masks(editor: Mapping[str, Any], row: PublishedRow) -> Iterable[str]:
    masks = editor["masks"]
    here = masks if isinstance(masks, str) else f"found by {masks['model']}"
    if row.masks not in (NOT_STATED, here):
        yield _apart("masks", here, row.masks)


def _settings(editor: Mapping[str, Any], row: PublishedRow) -> Iterable[str]:
    settings = editor.get("settings", {})
    for name, there in row.settings.items():
        if name in settings and settings[name] != there:
            yield _apart(name, settings[name], there)


def _values(scores: Scores, section: Section, row: PublishedRow) -> tuple[dict[str, float], list[str]]:
    """(values that can be compared, why the others cannot be)."""
    values: dict[str, float] = {}
    reasons: list[str] = []
    for metric, value in row.row.values.items():
        kind = _kind(metric)
        ours = [key for key in section.mean if key.partition("@")[0] == metric]
        if kind is not None:
            ours, reason = _by_network(ours, kind, row, scores.views.get(kind, WHOLE))
            reasons += [reason] if reason else []
        elif not ours:
            reasons.append(f"{metric} is not taken here")
        for key in ours:
            if section.num[key] == section.num_samples:
                values[key] = value
            else:
                reasons.append(f"{key} is of {section.num[key]} of {section.num_samples} samples here")
    return values, reasons


def _by_network(ours: Sequence[str], kind: Measure, row: PublishedRow, view: str) -> tuple[list[str], str]:
    """(our measures by the row's network, why there is none)."""
    there = row.network(kind)
    known = checkpoints().get(kind, {}).get(there, [])
    agreeing = [key for key in ours if key.partition("@")[2] in known]
    if not agreeing:
        here = ", ".join(sorted({key.partition("@")[2] for key in ours}))
        return [], _apart(kind, here or "not taken", there)
    seen_there = row.table.views.get(kind, WHOLE)
    return (agreeing, "") if view == seen_there else ([], _apart(f"view of {kind}", view, seen_there))


def _kind(metric: str) -> Measure | None:
    """The measure of judges that a metric belongs to, None for one that needs no network."""
    return next((name for name in MEASURES if metric.partition("_")[0] == name), None)


def _apart(name: str, here: Any, there: Any) -> str:
    return f"{name}: {here} here, {there} there"
