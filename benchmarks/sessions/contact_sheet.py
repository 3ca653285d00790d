"""`make sessions-image`: sessions of the tiny build on one sheet, a row each: the source, then each turn's target.

A mark below an image says whether a reader saw on it what the caption says.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.sessions.measure import MAX_PIXELS, Pair, read_pairs  # noqa: E402  run from a checkout
from benchmarks.sessions.run import MANIFEST  # noqa: E402
from samples.stored_images import rgb_image  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

CELL_PX, GAP_PX, TEXT_PX, CHARS_PER_LINE = 144, 10, 54, 22
NUM_TURNS = 3
READER = "caption"
PAPER, INK, GOOD, BAD = (255, 255, 255), (40, 40, 44), (30, 120, 60), (170, 60, 40)


def chosen(pairs: Sequence[Pair], count: int) -> list[list[Pair]]:
    """The turns of the first sessions with all turns: two of three have every turn right, if there are so many."""
    sessions: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.row["pair_kind"] == "turn":
            sessions[pair.row["session_id"]].append(pair)
    full = [turns for turns in sessions.values() if len(turns) == NUM_TURNS]
    right = [turns for turns in full if all(pair.shows[READER][1] for pair in turns)][: count - count // 3]
    wrong = [turns for turns in full if not all(pair.shows[READER][1] for pair in turns)]
    return [*right, *wrong[: count - len(right)]]


def sheet_of(sessions: Sequence[Sequence[Pair]]) -> Image.Image:
    """All sessions, one below the other."""
    row_px = CELL_PX + TEXT_PX + GAP_PX
    width = (NUM_TURNS + 1) * (CELL_PX + GAP_PX) + GAP_PX
    sheet = Image.new("RGB", (width, len(sessions) * row_px + GAP_PX), PAPER)
    for number, turns in enumerate(sessions):
        top = GAP_PX + number * row_px
        first = turns[0].row
        _draw_cell(sheet, (GAP_PX, top), first["source_images"][0], first["source_caption"], INK)
        for pair in turns:
            left = GAP_PX + pair.row["turn"] * (CELL_PX + GAP_PX)
            colour = GOOD if pair.shows[READER][1] else BAD
            _draw_cell(sheet, (left, top), pair.row["target_image"], pair.row["instruction"], colour)
    return sheet


def _draw_cell(sheet: Image.Image, place: tuple[int, int], stored: bytes, text: str, colour: tuple[int, ...]) -> None:
    image = rgb_image(stored, MAX_PIXELS).resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
    sheet.paste(image, place)
    wrapped = textwrap.fill(text, CHARS_PER_LINE)
    below = place[0], place[1] + CELL_PX + 3
    ImageDraw.Draw(sheet).multiline_text(below, wrapped, colour, ImageFont.load_default(12), spacing=3)


def main() -> int:
    """Draw the sheet. Return 0, or 1 where there is no session to draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("image", type=Path, help="PNG file to write")
    parser.add_argument("--build", type=Path, default=ROOT / "runs" / "sessions" / "build", help="%(default)s")
    parser.add_argument("--count", type=int, default=6, help="sessions (%(default)s)")
    given = parser.parse_args()
    sessions = chosen(read_pairs(given.build, MANIFEST), given.count)
    if not sessions:
        print(f"{given.build} has no sessions of {MANIFEST.name}; run make bench-sessions", file=sys.stderr)
        return 1
    sheet_of(sessions).save(given.image, optimize=True)
    print(given.image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
