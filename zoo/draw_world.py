"""`python -m zoo.draw_world FILE`: the image of the miniature world in zoo/README.md.

A scene in each place with its caption, then an edit of each kind with its instruction, then a scene's true segments.
"""

from __future__ import annotations

import itertools
import random
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.world import COLOURS, KINDS, PLACES, caption, panoptic, possible_kinds, render, sample_edit, scene_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zoo.world import EditKind, Scene

COLUMNS = 4
CELL_PX = 232
GAP_PX = 8
TEXT_PX = 44
FONT_PX = 13
CHARS_PER_LINE = 36
PAPER, INK = (255, 255, 255), (40, 40, 44)


class Cell(NamedTuple):
    """Images side by side, and the text below them."""

    images: list[Image.Image]
    text: str


def world_image() -> Image.Image:
    """All cells in rows of COLUMNS, with the same pixels at every call."""
    cells = [*_places(), *_edits(), _segments()]
    rows = [cells[at : at + COLUMNS] for at in range(0, len(cells), COLUMNS)]
    heights = [max(image.height for cell in row for image in cell.images) + TEXT_PX for row in rows]
    sheet = Image.new("RGB", (COLUMNS * (CELL_PX + GAP_PX) + GAP_PX, sum(heights) + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(FONT_PX)
    for row, top in zip(rows, itertools.accumulate(heights, initial=GAP_PX), strict=False):
        for column, cell in enumerate(row):
            left = GAP_PX + column * (CELL_PX + GAP_PX)
            for number, image in enumerate(cell.images):
                sheet.paste(image, (left + number * (image.width + GAP_PX), top))
            below = top + cell.images[0].height + 4
            draw.multiline_text((left, below), textwrap.fill(cell.text, CHARS_PER_LINE), INK, font, spacing=2)
    return sheet


def _places() -> Iterator[Cell]:
    for place in PLACES:
        scene = next(scene for scene in _scenes() if scene.place == place)
        yield Cell([_image(scene, CELL_PX)], caption(scene))


def _edits() -> Iterator[Cell]:
    half_px = (CELL_PX - GAP_PX) // 2
    for number, kind in enumerate(KINDS):
        scene = _plain_scene(40 * number + 100, kind)
        edit = sample_edit(scene, random.Random(number), kind)
        yield Cell([_image(edit.source, half_px), _image(edit.target, half_px)], edit.instruction)


def _segments() -> Cell:
    half_px = (CELL_PX - GAP_PX) // 2
    scene = next(scene for scene in _scenes(500) if len(scene.things) == 3)
    segments, labels = panoptic(scene, half_px)
    palette = np.array(list(COLOURS.values())[: len(labels)], dtype=np.uint8)
    return Cell([_image(scene, half_px), Image.fromarray(palette[segments])], f"segments: {', '.join(labels)}")


def _plain_scene(first: int, kind: EditKind) -> Scene:
    return next(scene for scene in _scenes(first) if scene.style is None and kind in possible_kinds(scene))


def _scenes(first: int = 0) -> Iterator[Scene]:
    return (scene_of(0, index) for index in itertools.count(first))


def _image(scene: Scene, size_px: int) -> Image.Image:
    return Image.fromarray(render(scene, size_px))


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    world_image().save(target, optimize=True)
    print(target)
