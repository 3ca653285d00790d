"""`editloom compare`: print scores beside published rows."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption, say


def compare_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `editloom evaluate` wrote", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Print scores beside published rows, where networks, samples, regions and settings agree.

    Each row that is left out, and each value, has its reason in a line.
    """
    from evaluation.published import report
    from evaluation.published.compare import compare
    from evaluation.scores import Scores

    found = [compare(Scores.read(folder)) for folder in folders]
    if as_json:
        say(json.dumps([report.as_json(one) for one in found], indent=1))
    else:
        say("\n\n".join(report.as_text(one) for one in found))
