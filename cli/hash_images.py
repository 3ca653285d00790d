"""`editloom hash-images`: make the list of hashes that `check_leakage` compares the images of a build with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption, say


def hash_images_command(
    source: Annotated[
        Path, typer.Argument(help="Folder of images, Parquet file, or finished dataset", show_default=False)
    ],
    out: Annotated[Path, typer.Option("--out", help="The list: NAME.hashes.parquet")],
    name: Annotated[str, typer.Option("--name", help="Its name in rejects  [default: that of the file]")] = "",
    benchmark: Annotated[
        str, typer.Option("--benchmark", help="Read the folder as this benchmark: its images only, no masks")
    ] = "",
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Add the mirror image of each")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a list of hashes of images, such as those of your copy of a benchmark, for the stage check_leakage.

    The list holds no image and no text. Images that cannot be decoded, and even ones, are left out and counted.
    """
    from evaluation.hashed_images import write_list

    found = write_list(source, out, name=name, benchmark=benchmark, mirrored=mirrored)
    if as_json:
        facts = {"images": found.num_images, "hashes": found.num_hashes, "left_out": dict(found.left_out)}
        say(json.dumps({"list": str(out), **facts}))
        return
    say(f"{out}: {found.num_hashes} hashes of {found.num_images} images")
    for reason, count in sorted(found.left_out.items()):
        say(f"left out: {count} {reason}")
