"""`make preferences-image`: pairs of the tiny dataset on one sheet.

A row a pair: source, chosen and rejected edit, and beside them the instruction, the score of each edit and the margin.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from zoo.dataset_shards import read_samples  # noqa: E402  run from a checkout

MEMBERS = {"source.png": "source", "target.png": "chosen", "rejected.png": "rejected"}
CELL_PX, GAP_PX, TEXT_PX, HEAD_PX = 128, 6, 320, 24
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 44), (120, 120, 126)
BAR_PX, BAR_HEIGHT_PX = 200, 10
CHOSEN, REJECTED = (46, 125, 50), (198, 40, 40)


def chosen_rows(dataset: Path, count: int) -> list[dict[str, bytes]]:
    """The members of so many pairs: from the greatest margin down, in even steps."""
    rows = [members for _, members in read_samples(dataset)]
    rows.sort(key=lambda members: -json.loads(members["json"])["preference_margin"])
    return [rows[number * len(rows) // count] for number in range(min(count, len(rows)))]


def sheet_of(rows: list[dict[str, bytes]]) -> Image.Image:
    """All rows below a line that names the columns."""
    width = len(MEMBERS) * (CELL_PX + GAP_PX) + GAP_PX + TEXT_PX
    sheet = Image.new("RGB", (width, HEAD_PX + len(rows) * (CELL_PX + GAP_PX) + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(MEMBERS.values()):
        draw.text((GAP_PX + column * (CELL_PX + GAP_PX), 5), name, FAINT, ImageFont.load_default(13))
    for number, members in enumerate(rows):
        _draw_row(sheet, HEAD_PX + number * (CELL_PX + GAP_PX), members)
    return sheet


def _draw_row(sheet: Image.Image, top: int, members: dict[str, bytes]) -> None:
    for column, suffix in enumerate(MEMBERS):
        image = Image.open(io.BytesIO(members[suffix])).convert("RGB")
        resized = image.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
        sheet.paste(resized, (GAP_PX + column * (CELL_PX + GAP_PX), top))
    known: dict[str, Any] = json.loads(members["json"])
    draw, left = ImageDraw.Draw(sheet), GAP_PX + len(MEMBERS) * (CELL_PX + GAP_PX)
    draw.text((left, top + 4), known["instruction"], INK, ImageFont.load_default(15))
    scores = {"chosen": (known["preference_score"], CHOSEN), "rejected": (known["rejected_score"], REJECTED)}
    for line, (name, (score, colour)) in enumerate(scores.items()):
        y = top + 38 + line * 24
        draw.text((left, y - 2), f"{name} {score:.2f}", INK, ImageFont.load_default(12))
        length = round(BAR_PX * max(0.0, min(1.0, score)))
        draw.rectangle((left + 100, y, left + 100 + length, y + BAR_HEIGHT_PX), fill=colour)
    draw.text((left, top + CELL_PX - 22), f"margin {known['preference_margin']:.2f}", FAINT, ImageFont.load_default(12))


def main() -> int:
    """Draw the sheet. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("image", type=Path, help="PNG file to write")
    parser.add_argument("--dataset", type=Path, default=ROOT / "runs" / "preferences" / "dataset", help="%(default)s")
    parser.add_argument("--count", type=int, default=6, help="pairs (%(default)s)")
    given = parser.parse_args()
    sheet_of(chosen_rows(given.dataset, given.count)).save(given.image, optimize=True)
    print(given.image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
