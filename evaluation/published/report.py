"""Comparisons with published rows as text for people, and as JSON values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from evaluation.published.compare import Compared, Comparison

OURS = "here"
"""The name of our own row."""


def as_text(comparison: Comparison) -> str:
    """A table for each section that has published rows, then one line for each group of rows that are left out."""
    scores = comparison.scores
    lines = [f"{scores.benchmark} {scores.dataset}: {scores.system}"]
    for name in scores.sections:
        shown = [one for one in comparison.rows if one.values and one.row.row.section == name]
        if shown:
            lines += ["", *_table(comparison, name, shown)]
    if not any(one.values for one in comparison.rows):
        lines += ["", "no published row can be compared"]
    left_out = _grouped(comparison.rows)
    if left_out:
        lines += ["", "left out, and why:", *(f"  {line}" for line in left_out)]
    if comparison.num_elsewhere:
        others = ", ".join(f"{name} {count}" for name, count in comparison.num_elsewhere.items())
        lines += ["", f"published rows of other benchmarks: {others}"]
    return "\n".join(lines)


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The same as JSON values, each published row with its source and conditions."""
    scores = comparison.scores
    baselines = {
        name: {section: one.mean for section, one in of.items()} for name, of in scores.baselines.items()
    }  # fmt: skip
    return {
        "benchmark": scores.benchmark, "dataset": scores.dataset, "system": scores.system,
        "sections": {name: one.mean for name, one in scores.sections.items()},
        "baselines": baselines,
        "published": [
            {
                "system": one.row.row.system, "section": one.row.row.section, "source": one.row.table.source,
                "run_by": one.row.table.run_by, "mark": one.row.table.mark,
                "conditions_from": one.row.table.conditions_from, "masks": one.row.masks, "settings": one.row.settings,
                "notes": [note for note in (one.row.table.note, one.row.row.note) if note],
                "published": one.row.row.values, "compared": dict(one.values), "reasons": list(one.reasons),
                "unknown": list(one.unknown),
            }
            for one in comparison.rows
        ],
        "other_benchmarks": dict(comparison.num_elsewhere),
    }  # fmt: skip


def _table(comparison: Comparison, name: str, shown: list[Compared]) -> list[str]:
    """Our system and baselines, then the published rows, a column for each measure that one of them has."""
    scores = comparison.scores
    section = scores.sections[name]
    columns = [key for key in section.mean if any(key in one.values for one in shown)]
    rows: list[tuple[str, Mapping[str, float], str]] = [(OURS, section.mean, "")]
    rows += [(key, of[name].mean, "") for key, of in scores.baselines.items() if name in of]
    rows += [(one.row.row.system, one.values, _origin(one)) for one in shown]
    title = f"{name} ({section.num_samples})"
    width = max(map(len, (title, *(f"  {label}" for label, _, _ in rows))))
    heads = {key: max(len(key), 8) for key in columns}
    lines = [f"{title:{width}}" + "".join(f"  {key:>{size}}" for key, size in heads.items())]
    for label, values, origin in rows:
        cells = "".join(f"  {_cell(values, key):>{size}}" for key, size in heads.items())
        lines.append(f"  {label:{width - 2}}{cells}" + (f"  {origin}" if origin else ""))
    return lines


def _cell(values: Mapping[str, float], key: str) -> str:
    return f"{values[key]:.4f}" if key in values else "-"


def _origin(one: Compared) -> str:
    """Source, who ran it, and what is known only in part."""
    table = one.row.table
    parts = [f"{table.source}, run by {table.run_by}"]
    parts += [f"values by {table.mark}"] if table.mark != "paper" else []
    parts += [f"conditions {table.conditions_from}"] if table.conditions_from.startswith("inferred") else []
    parts += [note for note in (table.note, one.row.row.note) if note]
    parts += [] if one.row.settings else ["states no settings of the editor"]
    parts += [f"not known here: {', '.join(one.unknown)}"] if one.unknown else []
    return "; ".join(parts)


def _grouped(rows: Iterable[Compared]) -> list[str]:
    """A line for the rows of one table and section that are left out, wholly or in part, for the same reasons."""
    groups: dict[tuple[str, str, tuple[str, ...], bool], list[str]] = {}
    for one in rows:
        if one.reasons:
            key = (one.row.table.source, one.row.row.section, one.reasons, bool(one.values))
            groups.setdefault(key, []).append(one.row.row.system)
    return [
        f"{source}, {section}: {' | '.join(systems)}{' (in part)' if is_part else ''}: {'; '.join(reasons)}"
        for (source, section, reasons, is_part), systems in groups.items()
    ]
