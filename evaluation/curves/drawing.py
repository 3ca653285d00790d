"""Draws trade-off curves into one plot, each point with its value of the swept setting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import UsageError
from evaluation.curves.plot import Series, draw_plot
from evaluation.images import save_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from evaluation.curves.curve import Curve

X_TITLE = "CLIP direction similarity of images and texts"
Y_TITLE = "CLIP similarity of edited image and source"
TRUTH = "true results"
SAME = ("dataset", "section", "judge", "revision", "view")
"""What curves of one plot must agree in, for their axes to mean the same."""


def draw_curves(curves: Sequence[Curve], to: Path, labels: Sequence[str] = ()) -> None:
    """Write the plot as a PNG file. `labels` name the curves, by default by their system.

    Raises UsageError for curves that have no axes in common, and for a file that is no PNG file.
    """
    if to.suffix.lower() != ".png":
        raise UsageError(f"{to} is no name of a PNG file; expected a name that ends in .png")
    if labels and len(labels) != len(curves):
        raise UsageError(f"{len(labels)} labels for {len(curves)} curves; give one for each, or none")
    first = curves[0]
    for other in curves[1:]:
        for name in SAME:
            one, two = getattr(first, name), getattr(other, name)
            if one != two:
                raise UsageError(f"curves of another {name} share no axes: {one} and {two}; draw them apart")
    names = labels or [one.system for one in curves]
    series = [
        Series(
            f"{name} ({one.setting})",
            [(point.direction, point.similarity) for point in one.points],
            [str(point.value) for point in one.points],
        )
        for name, one in zip(names, curves, strict=True)
    ]
    truth = next((one.truth for one in curves if one.truth), None)  # of one dataset: the same wherever it is known
    if truth:
        series.append(Series(TRUTH, [(truth.direction, truth.similarity)], [""]))
    title = f"{first.benchmark}, {first.section} ({first.points[0].num}), {first.judge}"
    save_png(draw_plot(series, title=title, x_title=X_TITLE, y_title=Y_TITLE), to)
