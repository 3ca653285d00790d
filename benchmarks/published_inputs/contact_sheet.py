"""`make inputs-image`: a row of each published layout, as its source stage reads it from the tiny files.

Source, target and mask where there is one, and beside them all that the row says of the edit.
"""

from __future__ import annotations

import argparse
import io
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.context import Context  # noqa: E402  run from a checkout
from stages.read_edit_lines import ReadEditLines  # noqa: E402
from stages.read_edit_tars import ReadEditTars  # noqa: E402
from stages.read_edit_triples import ReadEditTriples  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.stage import SourceStage

STAGES: dict[str, SourceStage] = {
    "instruct-pix2pix": ReadEditTriples(layout="pair_folders"), "ultraedit": ReadEditTriples(),
    "magicbrush": ReadEditTriples(require_captions=False), "omniedit": ReadEditTriples(require_captions=False),
    "imgedit": ReadEditTars(), "pico-banana": ReadEditLines(),
}  # fmt: skip
IMAGES = ("source_raw", "target_raw", "mask_raw")
SAID = ("edit_type", "edit_object", "source_caption", "target_caption", "session_id", "turn", "source_url")
CELL_PX, GAP_PX, TEXT_PX, HEAD_PX = 128, 6, 420, 24
CHARS_PER_LINE = 64
PAPER, INK, FAINT, CHECKED = (255, 255, 255), (40, 40, 44), (120, 120, 126), (205, 205, 210)
Row = dict[str, Any]


def rows_of(stage: SourceStage, folder: Path) -> Iterator[Row]:
    """All rows that the stage reads."""
    read = stage.open(Context(stage_name="contact_sheet"))
    for shard in stage.list_shards([str(folder)]):
        for table in read(shard):
            yield from table.to_pylist()


def told(row: Row) -> int:
    """How much of what a layout can say a row says: other wordings, a mask and a later turn most of all."""
    has_turn = (row["turn"] or 0) > 1
    return (
        20 * (len(row["instructions"]) > 1)
        + 10 * (row["mask_raw"] is not None)
        + 10 * has_turn
        + sum(row[name] is not None for name in SAID)
    )


def sheet_of(rows: dict[str, Row]) -> Image.Image:
    """A line for each layout below one that names the columns."""
    width = len(IMAGES) * (CELL_PX + GAP_PX) + 2 * GAP_PX + TEXT_PX
    sheet = Image.new("RGB", (width, HEAD_PX + len(rows) * (CELL_PX + GAP_PX) + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, name in enumerate(IMAGES):
        draw.text((GAP_PX + column * (CELL_PX + GAP_PX), 5), name, FAINT, ImageFont.load_default(13))
    for number, (layout, row) in enumerate(rows.items()):
        _draw_row(sheet, HEAD_PX + number * (CELL_PX + GAP_PX), layout, row)
    return sheet


def _draw_row(sheet: Image.Image, top: int, layout: str, row: Row) -> None:
    for column, name in enumerate(IMAGES):
        if row[name] is not None:
            shown = (
                Image.open(io.BytesIO(row[name])).convert("RGBA").resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
            )
            paper = Image.new("RGBA", shown.size, CHECKED)
            sheet.paste(Image.alpha_composite(paper, shown).convert("RGB"), (GAP_PX + column * (CELL_PX + GAP_PX), top))
    draw, left = ImageDraw.Draw(sheet), 2 * GAP_PX + len(IMAGES) * (CELL_PX + GAP_PX)
    draw.text(
        (left, top), f"{layout}, by {STAGES[layout].__module__.rpartition('.')[2]}", FAINT, ImageFont.load_default(12)
    )
    draw.text((left, top + 17), " / ".join(row["instructions"]), INK, ImageFont.load_default(14))
    said = "\n".join(
        textwrap.shorten(f"{name}: {row[name]}", CHARS_PER_LINE, placeholder=" …")
        for name in SAID
        if row[name] is not None
    )
    draw.multiline_text((left, top + 38), said, INK, ImageFont.load_default(12), spacing=3)


def main() -> int:
    """Draw the sheet. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("image", type=Path, help="PNG file to write")
    parser.add_argument("--inputs", type=Path, default=ROOT / "data" / "published", help="%(default)s")
    given = parser.parse_args()
    rows = {layout: max(rows_of(stage, given.inputs / layout), key=told) for layout, stage in STAGES.items()}
    sheet_of(rows).save(given.image, optimize=True)
    print(given.image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
