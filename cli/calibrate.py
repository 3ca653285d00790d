"""`editloom calibrate`: what each threshold of a score keeps, and how that agrees with labels."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption, say


def calibrate_command(
    table: Annotated[
        str,
        typer.Argument(help="A finished dataset (folder or URL), or a .parquet or .jsonl table", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for calibration.parquet, .md and .png")],
    labels: Annotated[
        str | None, typer.Option(help="A .csv or .jsonl file of sample_id and label: good, bad, 1 or 0")
    ] = None,
    score: Annotated[str, typer.Option(help="Column of the score; higher is better")] = "judge_score",
    keep_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Suggest the highest threshold that keeps this share of all")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(min=0, max=1, help="Suggest the lowest one at which this share of the kept is good")
    ] = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Show what each threshold of a score keeps, in all and by edit type, and how that agrees with labels.

    Prints the lines of a manifest with the suggested threshold: by --keep-rate, by --precision, or else, where there
    are labels, the one that agrees best with them (Cohen's kappa). Abstentions are rows that no threshold keeps.
    """
    from core.errors import UsageError
    from evaluation.calibration.calibrate import Rule, calibrate
    from evaluation.calibration.scored_rows import read_labels, read_scored
    from evaluation.calibration.write import write_calibration

    if keep_rate is not None and precision is not None:
        raise UsageError("--keep-rate and --precision each suggest a threshold; give one of them")
    rule = Rule("kappa") if labels else None
    if keep_rate is not None:
        rule = Rule("keep_rate", keep_rate)
    if precision is not None:
        rule = Rule("precision", precision)
    found = calibrate(read_scored(table, score), score, read_labels(labels) if labels else {}, rule)
    written = [str(path) for path in write_calibration(found, out)]
    if as_json:
        counts = {"unknown_labels": found.num_unknown_labels, "rejects_left_out": found.left_out}
        say(json.dumps({"bounds": found.bounds(), **counts, "written": written}))
        return
    sys.stderr.write("".join(f"{note}\n" for note in found.notes()))
    say("\n".join([*written, *found.bounds()]))
