"""`editloom curve`: draw trade-off curves of several editors into one plot."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import say


def curve_command(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders that `evaluate --sweep` wrote, or their curve.json", show_default=False),
    ],
    to: Annotated[Path, typer.Option("--to", help="The PNG file to be written")],
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Name of a curve in the plot; repeat it for each folder")
    ] = None,
) -> None:
    """Draw the curves that `evaluate --sweep` measured, of one benchmark and one CLIP network, into one plot."""
    from evaluation.curves.curve import Curve
    from evaluation.curves.drawing import draw_curves

    draw_curves([Curve.read(folder) for folder in folders], to, label or ())
    say(str(to))
