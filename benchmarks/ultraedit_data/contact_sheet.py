"""`make ultraedit-image`: samples of both tiny UltraEdit datasets on one sheet.

A row a sample: anchor, source, target, region and soft mask, and beside them the instruction and both captions.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tarfile
import textwrap
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
MEMBERS = ("anchor.png", "source.png", "target.png", "region_mask.png", "soft_mask.png")
DATASETS = {"region": "ultraedit-region", "free-form": "ultraedit"}
CELL_PX, GAP_PX, TEXT_PX, HEAD_PX = 128, 6, 330, 24
CHARS_PER_LINE = 48
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 44), (120, 120, 126)


def samples_of(dataset: Path) -> Iterator[dict[str, bytes]]:
    """The members of each sample, by suffix."""
    for path in sorted(dataset.glob("*.tar")):
        found: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        with tarfile.open(path) as tar:
            for member in tar:
                own, _, suffix = member.name.partition(".")
                found[own][suffix] = tar.extractfile(member).read()  # type: ignore[union-attr]  # all are files
        yield from found.values()


def chosen(dataset: Path, count: int) -> list[dict[str, bytes]]:
    """The first samples, one of each type of edit in turn, no two over one anchor."""
    by_type: defaultdict[str, list[dict[str, bytes]]] = defaultdict(list)
    anchors: set[str] = set()
    for sample in samples_of(dataset):
        known = json.loads(sample["json"])
        if known["anchor_id"] not in anchors:
            anchors.add(known["anchor_id"])
            by_type[known["edit_type"]].append(sample)
    turns = zip_longest(*(found[:count] for _, found in sorted(by_type.items())))
    return [sample for turn in turns for sample in turn if sample is not None][:count]


def sheet_of(rows: list[dict[str, bytes]]) -> Image.Image:
    """All rows below a line that names the columns."""
    width = len(MEMBERS) * (CELL_PX + GAP_PX) + GAP_PX + TEXT_PX
    sheet = Image.new("RGB", (width, HEAD_PX + len(rows) * (CELL_PX + GAP_PX) + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, suffix in enumerate(MEMBERS):
        name = suffix.partition(".")[0].replace("_", " ")
        draw.text((GAP_PX + column * (CELL_PX + GAP_PX), 5), name, FAINT, ImageFont.load_default(13))
    for number, sample in enumerate(rows):
        _draw_row(sheet, HEAD_PX + number * (CELL_PX + GAP_PX), sample)
    return sheet


def _draw_row(sheet: Image.Image, top: int, sample: dict[str, bytes]) -> None:
    for column, suffix in enumerate(MEMBERS):
        if suffix in sample:
            image = Image.open(io.BytesIO(sample[suffix])).convert("RGB")
            resized = image.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST)
            sheet.paste(resized, (GAP_PX + column * (CELL_PX + GAP_PX), top))
    known: dict[str, Any] = json.loads(sample["json"])
    draw, left = ImageDraw.Draw(sheet), GAP_PX + len(MEMBERS) * (CELL_PX + GAP_PX)
    captions = f"{known['source_caption']}\n-> {known['target_caption']}\nback: {known['reverse_instruction']}"
    wrapped = "\n".join(textwrap.fill(line, CHARS_PER_LINE) for line in captions.split("\n"))
    draw.multiline_text((left, top + 4), known["instruction"], INK, ImageFont.load_default(15))
    draw.multiline_text((left, top + 30), wrapped, INK, ImageFont.load_default(12), spacing=5)
    draw.text((left, top + CELL_PX - 18), known["edit_type"], FAINT, ImageFont.load_default(12))


def main() -> int:
    """Draw the sheet. Return 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("image", type=Path, help="PNG file to write")
    parser.add_argument("--builds", type=Path, default=ROOT / "runs" / "ultraedit-data", help="%(default)s")
    parser.add_argument("--count", type=int, default=4, help="samples of each dataset (%(default)s)")
    given = parser.parse_args()
    datasets = [given.builds / name / "shipped" / "dataset" for name in DATASETS.values()]
    rows = [sample for dataset in datasets for sample in chosen(dataset, given.count)]
    sheet_of(rows).save(given.image, optimize=True)
    print(given.image)
    return 0


if __name__ == "__main__":
    sys.exit(main())
