"""A contact sheet of held-out edits by the editors of a benchmark of claims.

A row an edit, under its instruction: its example where it has one, the source, the true target, and the image of each
editor.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from evaluation.benchmarks.pairs import Pairs
from evaluation.images import open_rgb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from evaluation.benchmark import Benchmark, EditCase

CELL_PX, GAP_PX, HEAD_PX, LINE_PX = 80, 6, 52, 20
CHARS_PER_LINE = 13
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 44), (120, 120, 126)


def sheet_of(cases: Benchmark, keys: Sequence[str], folders: dict[str, Path]) -> Image.Image:
    """All rows below a line that names the columns."""
    has_examples = any(case.examples for case in cases.cases)
    known = (*(("example, before", "example, after") if has_examples else ()), "source", "true target")
    width = (len(known) + len(folders)) * (CELL_PX + GAP_PX) + GAP_PX
    height = HEAD_PX + len(keys) * (LINE_PX + CELL_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for column, name in enumerate((*known, *folders)):
        draw.multiline_text((_left(column), 4), textwrap.fill(name, CHARS_PER_LINE), FAINT, font, spacing=1)
    truth = {sample.key: sample.reference for sample in cases.samples}
    by_key: dict[str, EditCase] = {case.key: case for case in cases.cases}
    for row, key in enumerate(keys):
        top = HEAD_PX + row * (LINE_PX + CELL_PX + GAP_PX)
        draw.text((GAP_PX, top), by_key[key].instruction, INK, ImageFont.load_default(13))
        stored = [by_key[key].source, truth[key], *(folder / f"{key}.png" for folder in folders.values())]
        stored = [*by_key[key].examples[0], *stored] if has_examples else stored
        for column, one in enumerate(stored):
            image = open_rgb(one).resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)  # type: ignore[arg-type]  # files
            sheet.paste(image, (_left(column), top + LINE_PX))
    return sheet


def _left(column: int) -> int:
    return GAP_PX + column * (CELL_PX + GAP_PX)


def main(
    title: str,
    out: Path,
    columns: Callable[[Path, int], dict[str, Path]],
    argv: Sequence[str] | None,
    cases_of: Callable[[Path, int], Path] = lambda out, _seed: out / "cases",
) -> int:
    """Draw the sheet of `out`, or of the run folder on the command line. Return 0, or 1 where no cell has run.

    `columns` gives for a run folder and a seed: heading -> folder of outputs; `cases_of` the folder of their cases.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("image", type=Path, help="PNG file to write")
    parser.add_argument("--out", type=Path, default=out, help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--first", type=int, default=0, help="the first edit shown (%(default)s)")
    parser.add_argument("--count", type=int, default=7, help="edits shown (%(default)s)")
    given = parser.parse_args(argv)
    folders = columns(given.out, given.seed)
    if not folders:
        print(f"no cell of seed {given.seed} has run in {given.out}", file=sys.stderr)
        return 1
    cases = Pairs().read(cases_of(given.out, given.seed))
    keys = [case.key for case in cases.cases[given.first : given.first + given.count]]
    sheet_of(cases, keys, folders).save(given.image, optimize=True)
    print(given.image)
    return 0
