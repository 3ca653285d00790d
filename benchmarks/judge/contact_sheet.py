"""`make judging-image`: edits with the judge's scores and reasons, and below them the calibration of `judge_score`.

Reads scores.jsonl and labels.csv of `make bench-judge`, and draws the same pairs again.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from PIL import Image, ImageDraw, ImageFont  # noqa: E402  run from a checkout

from benchmarks.judge.pairs import RIGHT, SPOIL, pairs  # noqa: E402
from evaluation.calibration.calibrate import Rule, calibrate  # noqa: E402
from evaluation.calibration.scored_rows import read_labels, read_scored  # noqa: E402
from evaluation.calibration.write import plot  # noqa: E402

if TYPE_CHECKING:
    from benchmarks.judge.pairs import JudgedPair

PER_WAY, COLUMNS = 2, 2
CELL_PX, GAP_PX, WIDTH_PX = 96, 8, 960
CHARS_PER_LINE = 46
PAPER, INK, FAINT = "#ffffff", "#28282c", "#6e6e74"
NUM_COLOURS = 128


def chosen(count: int, seed: int) -> list[JudgedPair]:
    """The first edits of each way, right ones first."""
    by_way: defaultdict[str, list[JudgedPair]] = defaultdict(list)
    for pair in pairs(count, seed):
        by_way[pair.how].append(pair)
    return [pair for how in (RIGHT, *SPOIL) for pair in by_way[how][:PER_WAY]]


def words(reply: str, score: float | None) -> list[str]:
    """The scores and reasons in a reply, or the reply where it has none."""
    if score is None:
        return ["abstained:", *textwrap.wrap(reply, CHARS_PER_LINE)]
    found = json.loads(reply)
    names = ("instruction", "preservation", "quality")
    lines = [f"{name} {found[f'{name}_score']}: {found[f'{name}_reason']}" for name in names]
    return [f"judge_score {score:.1f}", *(textwrap.shorten(line, CHARS_PER_LINE, placeholder=" …") for line in lines)]


def sheet(shown: list[JudgedPair], rows: dict[str, dict[str, Any]]) -> Image.Image:
    """A cell for each pair: source, edited image, and what was asked and said."""
    font, bold = ImageFont.load_default(11), ImageFont.load_default(12)
    lines = -(-len(shown) // COLUMNS)
    image = Image.new("RGB", (WIDTH_PX, GAP_PX + lines * (CELL_PX + GAP_PX)), PAPER)
    draw = ImageDraw.Draw(image)
    for number, pair in enumerate(shown):
        left = GAP_PX + (number % COLUMNS) * (WIDTH_PX // COLUMNS)
        top = GAP_PX + (number // COLUMNS) * (CELL_PX + GAP_PX)
        for place, pixels in enumerate((pair.source, pair.edited)):
            cell = Image.fromarray(pixels).resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
            image.paste(cell, (left + place * (CELL_PX + 2), top))
        x, row = left + 2 * CELL_PX + GAP_PX, rows[pair.key]
        draw.text((x, top), pair.edit.instruction, fill=INK, font=bold)
        draw.text((x, top + 16), pair.how, fill=FAINT, font=font)
        for line, text in enumerate(words(row["judge_reply"], row["judge_score"])):
            draw.text((x, top + 34 + 15 * line), text, fill=INK, font=font)
    return image


def main() -> int:
    """Draw the image. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("to", type=Path)
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "judge", help="%(default)s")
    given = parser.parse_args()
    table, labels = str(given.run / "scores.jsonl"), str(given.run / "labels.csv")
    rows = {row["sample_id"]: row for row in map(json.loads, Path(table).read_text(encoding="utf-8").splitlines())}
    found = calibrate(read_scored(table, "judge_score"), "judge_score", read_labels(labels), Rule("kappa"))
    parts = [sheet(chosen(len(rows), 0), rows), plot(found)]
    whole = Image.new("RGB", (WIDTH_PX, sum(part.height for part in parts)), PAPER)
    top = 0
    for part in parts:
        whole.paste(part, (0, top))
        top += part.height
    whole.quantize(NUM_COLOURS, dither=Image.Dither.NONE).save(given.to, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
