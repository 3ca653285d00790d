"""`editloom export`: write a finished dataset in the layout that another trainer reads."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption, say
from core.errors import UsageError
from core.machine import num_cores
from core.settings import checked, parse_pairs
from export.formats import FORMATS, find_format


def export_command(
    dataset: Annotated[str, typer.Argument(help="Dataset: a folder or fsspec URL with shards.json")],
    to: Annotated[str, typer.Option("--to", help=", ".join(FORMATS))],
    out: Annotated[str, typer.Option("--out", help="Folder for the export: new, or of the same export")],
    split: Annotated[str, typer.Option(help="The split that is exported of a dataset that has splits")] = "train",
    settings: Annotated[list[str] | None, typer.Option("--set", help="A setting, key=value; may be repeated")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Shards at once  [default: as many as there are cores]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the export that is in the folder, with all files there")
    ] = False,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Write DATASET in the layout of another trainer. The same command again exports only what is missing."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    from export.run import export_dataset
    from samples.shards import read_shards

    if "://" in out:
        raise UsageError(f"--out {out!r}: trainers read local folders; name one, and copy it from there")
    made = checked(find_format(to), parse_pairs(settings or []), f"--set of the format {to}")
    folder = Path(out).expanduser()
    result = export_dataset(
        read_shards(dataset), made, folder, split=split, workers=workers or num_cores(), overwrite=overwrite
    )
    if as_json:
        say(json.dumps({"out": str(folder), **asdict(result)}))
        return
    num_left_out = sum(result.left_out.values())
    left_out = f", {num_left_out:,} left out (left_out.jsonl)" if num_left_out else ""
    say(f"{folder}: {result.num_rows:,} rows{left_out}; how to use them: {folder / 'README.md'}")
