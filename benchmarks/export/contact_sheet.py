"""`python benchmarks/export/contact_sheet.py IMAGE`: two turns of a drawn session, as three formats have them.

The pictures and names are read from real exports: ai-toolkit's files, the columns of a table, a row of BAGEL.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from export.formats import find_format  # noqa: E402  run from a checkout
from export.run import export_dataset  # noqa: E402
from samples.shards import read_shards  # noqa: E402
from zoo.dataset_shards import write_shards  # noqa: E402
from zoo.world import edit_mask, render, sample_sequence, scene_of  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zoo.dataset_shards import Sample

SIDE_PX, SEED, SCENE = 128, 5, 12
CELL_PX, GAP_PX, LINE_PX, HEAD_PX = 128, 14, 16, 34
PAPER, INK, FAINT, LINE = (255, 255, 255), (40, 40, 44), (110, 110, 116), (215, 215, 220)
FORMATS = {
    "ai-toolkit": "--to ai-toolkit: files, a folder of each kind; the target carries the text",
    "huggingface": "--to huggingface: columns of a Parquet file; images when datasets loads it",
    "bagel": "--to bagel: a row is a session, images and instructions in the order of its turns",
}
"""Format -> heading of its part."""
Cell = tuple[bytes | None, str]
"""An image, or None for a text alone, and the words under it."""


def samples() -> Iterator[Sample]:
    """Two turns of one session in the miniature world."""
    edits = sample_sequence(scene_of(SEED, SCENE), random.Random(3), 2)
    for turn, edit in enumerate(edits, start=1):
        key = f"4fd1a0c9e27b5836-t{turn}"
        light = {
            "sample_id": key, "session_id": "4fd1a0c9e27b5836", "turn": turn, "instruction": edit.instruction,
            "source_caption": edit.source_caption, "target_caption": edit.target_caption,
        }  # fmt: skip
        mask = edit_mask(edit, SIDE_PX)
        yield (
            key,
            {
                "source.png": _png(Image.fromarray(render(edit.source, SIDE_PX))),
                "target.png": _png(Image.fromarray(render(edit.target, SIDE_PX))),
                "region_mask.png": _png(Image.fromarray(mask.astype("uint8") * 255)),
                "json": json.dumps(light).encode(),
            },
        )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def exported(folder: Path, to: str) -> Path:
    """The export of the two turns to a format."""
    if not (folder / "dataset").exists():
        write_shards(folder / "dataset", "turns", samples(), 10)
    out = folder / to
    export_dataset(read_shards(folder / "dataset"), find_format(to)(), out, split="train", workers=1)
    return out


def file_cells(out: Path) -> Iterator[Cell]:
    """The files of the first row of paired folders."""
    for path in sorted(out.glob("*/00000/*-t1.*"), key=lambda one: ("source", "target", "mask").index(_top(one, out))):
        if path.suffix == ".txt":
            yield None, f"{_top(path, out)}/00000/…-t1.txt\n\n“{path.read_text(encoding='utf-8')}”"
        else:
            yield path.read_bytes(), f"{_top(path, out)}/00000/…-t1{path.suffix}"


def _top(path: Path, out: Path) -> str:
    return path.relative_to(out).parts[0]


def column_cells(out: Path) -> Iterator[Cell]:
    """The first row of a table with image columns."""
    (file,) = (out / "data").glob("*.parquet")
    row = pq.read_table(file).to_pylist()[0]
    for name in ("input_image", "edit_prompt", "edited_image", "mask"):
        yield (row[name]["bytes"], name) if isinstance(row[name], dict) else (None, f"{name}\n\n“{row[name]}”")


def session_cells(out: Path) -> Iterator[Cell]:
    """The one row of BAGEL's table."""
    (file,) = (out / "data").glob("*.parquet")
    (row,) = pq.read_table(file).to_pylist()
    for place, image in enumerate(row["image_list"]):
        if place:
            yield None, f"instruction_list[{place - 1}]\n\n“{row['instruction_list'][place - 1][0]}”"
        yield image, f"image_list[{place}]"


CELLS = {"ai-toolkit": file_cells, "huggingface": column_cells, "bagel": session_cells}


def sheet_of(parts: dict[str, list[Cell]]) -> Image.Image:
    """The parts, one under another."""
    width = GAP_PX + max(map(len, parts.values())) * (CELL_PX + GAP_PX)
    part_px = HEAD_PX + CELL_PX + LINE_PX + GAP_PX
    sheet = Image.new("RGB", (width, len(parts) * part_px + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, cells) in enumerate(parts.items()):
        top = number * part_px
        draw.text((GAP_PX, top + 12), FORMATS[name], INK, ImageFont.load_default(14))
        for column, cell in enumerate(cells):
            _draw_cell(sheet, draw, (GAP_PX + column * (CELL_PX + GAP_PX), top + HEAD_PX), cell)
    return sheet


def _draw_cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, place: tuple[int, int], cell: Cell) -> None:
    """An image with its name under it, or a box with a text."""
    (left, top), (image, words), font = place, cell, ImageFont.load_default(11)
    if image is not None:
        sheet.paste(Image.open(io.BytesIO(image)).convert("RGB").resize((CELL_PX, CELL_PX)), place)
        draw.text((left, top + CELL_PX + 2), words, FAINT, font)
    draw.rectangle((left - 1, top - 1, left + CELL_PX, top + CELL_PX), outline=LINE)
    if image is None:
        draw.multiline_text((left + 6, top + 6), _folded(words), INK, font, spacing=3)


def _folded(words: str) -> str:
    return "\n".join(textwrap.fill(line, 22) for line in words.split("\n"))


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the sheet. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).rpartition(": ")[2])
    parser.add_argument("image", type=Path, help="PNG file to write")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        parts = {name: list(cells(exported(Path(folder), name))) for name, cells in CELLS.items()}
    sheet_of(parts).quantize(128).save(given.image, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
