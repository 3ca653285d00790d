"""Writes a calibration: a Parquet table of all thresholds, a page in Markdown, and a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from evaluation.calibration.calibrate import MIN_ROWS
from evaluation.curves.plot import Series, draw_plot
from evaluation.images import save_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL.Image import Image

    from evaluation.calibration.agreement import Agreement
    from evaluation.calibration.calibrate import Calibration, Section

TABLE_FILE, PAGE_FILE, PLOT_FILE = "calibration.parquet", "calibration.md", "calibration.png"
COUNTS = ("num_rows", "num_abstained", "num_kept", "num_labelled", "kept_good", "kept_bad", "left_good", "left_bad")
MEASURES = ("keep_rate", "precision", "recall", "f1", "balanced_accuracy", "kappa")
SHOWN_POINTS = 21
"""Thresholds of a section on the page and in the plot, at most; the table has all."""
MOST_LINES = 7
"""Sections in the plot: those of most rows, as there are no more colours."""


def write_calibration(found: Calibration, folder: Path) -> list[Path]:
    """Write the three files, the plot only where there is a threshold. Returns their paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    names = ("threshold", *COUNTS, *MEASURES)
    rows = [(one.name, point) for one in found.sections for point in one.points]
    columns: dict[str, Any] = {"section": pa.array([name for name, _ in rows], pa.string())}
    for name in names:
        kind = pa.int64() if name in COUNTS else pa.float64()
        columns[name] = pa.array([getattr(point, name) for _, point in rows], kind)
    temporary = folder / f"{TABLE_FILE}.tmp"
    pq.write_table(pa.table(columns), temporary)
    written = [temporary.replace(folder / TABLE_FILE)]
    temporary = folder / f"{PAGE_FILE}.tmp"
    temporary.write_text(page(found), encoding="utf-8")
    written.append(temporary.replace(folder / PAGE_FILE))
    (folder / PLOT_FILE).unlink(missing_ok=True)  # of an earlier run
    if rows:
        save_png(plot(found), folder / PLOT_FILE)
        written.append(folder / PLOT_FILE)
    return written


def page(found: Calibration) -> str:
    """The page: the suggestion, and a table of thresholds for each section."""
    lines = [f"# Calibration of {found.score}", "", *_suggestion(found)]
    for section in found.sections:
        lines += ["", f"## {_plain(section.name)}", "", _summary(section), ""]
        shown = (*MEASURES[:1], "num_kept", *(MEASURES[1:] if section.num_labelled else ()))
        lines += [
            f"| threshold | {' | '.join(name.replace('_', ' ') for name in shown)} |",
            "|---" * (len(shown) + 1) + "|",
        ]
        for point in thinned(section.points, section.suggested):
            mark = " **suggested**" if point == section.suggested else ""
            lines.append(
                f"| {point.threshold:.4g}{mark} | {' | '.join(_cell(getattr(point, name)) for name in shown)} |"
            )
    return "\n".join(lines) + "\n"


def plot(found: Calibration) -> Image:
    """The keep-rate against the threshold, and below it Cohen's kappa where there are labels."""
    from PIL import Image as Pillow

    overall, *types = found.sections
    shown = [overall, *sorted(types, key=lambda one: -one.num_rows)[: MOST_LINES - 1]]
    panels = []
    for name, title in (
        ("keep_rate", "share of edits that are kept"),
        ("kappa", "agreement with labels (Cohen's kappa)"),
    ):
        series = [_series(section, name) for section in shown]
        series = [one for one in series if one.points]
        if series:
            panels.append(draw_plot(series, title=found.score, x_title="threshold", y_title=title))
    whole = Pillow.new("RGB", (panels[0].width, sum(one.height for one in panels)), "white")
    top = 0
    for panel in panels:
        whole.paste(panel, (0, top))
        top += panel.height
    return whole


def thinned(points: Sequence[Agreement], also: Agreement | None = None) -> list[Agreement]:
    """At most `SHOWN_POINTS` of them, the first and the last included, and one more where `also` is not among them."""
    count = min(len(points), SHOWN_POINTS)
    places = {round(number * (len(points) - 1) / max(1, count - 1)) for number in range(count)}
    return [point for place, point in enumerate(points) if place in places or point == also]


def _series(section: Section, name: str) -> Series:
    points = [(one.threshold, value) for one in thinned(section.points) if (value := getattr(one, name)) is not None]
    label = f"{_plain(section.name)} ({section.num_rows} edits, {section.num_labelled} labelled)"
    return Series(label, points, [""] * len(points))


def _suggestion(found: Calibration) -> list[str]:
    """Which bounds follow from the rule, and what was left out."""
    lines = [line for note in found.notes() for line in (note, "")]
    bounds = found.bounds()
    if found.rule is None or not bounds:
        return lines[:-1]
    rule = found.rule.name if found.rule.name == "kappa" else f"{found.rule.name} {found.rule.goal:g}"
    lines += [f"Suggested by {rule}, for the stage `select`:", "", "```toml", *bounds, "```"]
    without = ", ".join(_plain(one.name) for one in found.sections[1:] if one.suggested is None)
    if without:
        why = f"at no threshold, or have fewer than {MIN_ROWS} rows to go by"
        lines += ["", f"No bound of their own: {without}. These types reach it {why}."]
    return lines


def _summary(section: Section) -> str:
    area = "" if section.area_under_curve is None else f", area under the curve {section.area_under_curve:.3f}"
    return f"{section.num_rows} edits, {section.num_abstained} abstentions, {section.num_labelled} labelled{area}"


def _cell(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


def _plain(text: str) -> str:
    """A name that comes from data, as it is shown in Markdown."""
    kept = "".join(character if character.isalnum() or character in " _-.," else " " for character in text)
    return " ".join(kept.split())[:80] or "-"
