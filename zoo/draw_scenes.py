"""Draws the sample set of the default manifest: small scenes with one or two objects, and their captions.

`python -m zoo.draw_scenes FOLDER` writes four WebDataset shards in img2dataset's layout. Same scenes, same bytes, at
every run. No model is trained on these; they show the pipeline at work.
"""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from collections.abc import Callable

Box = tuple[float, float, float, float]

SIZE_PX = 160
SUPERSAMPLING = 2
NUM_SHARDS = 4
SCENES_PER_SHARD = 12

COLOURS = {
    "red": "#c8102e", "blue": "#1f5fbf", "green": "#2e8b3d", "yellow": "#f2c230", "orange": "#ee7f1a",
    "purple": "#7d3c98", "white": "#f4f4f4", "black": "#26262a",
}  # fmt: skip
PLACES = {
    "on the grass": ("#a8d5f2", "#6fae4f"), "on the beach": ("#bfe3f7", "#ead9a0"), "on a road": ("#cfd8dc", "#77787b"),
    "in the snow": ("#dfe9f2", "#fbfcff"), "in the desert": ("#f6d9a8", "#d9a65b"),
}  # fmt: skip


def _part(box: Box, x0: float, y0: float, x1: float, y1: float) -> Box:
    """The part of `box` between fractions of its width and height."""
    left, top, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
    return left + x0 * width, top + y0 * height, left + x1 * width, top + y1 * height


def _car(draw: ImageDraw.ImageDraw, box: Box, colour: str) -> None:
    draw.rounded_rectangle(_part(box, 0.2, 0.3, 0.75, 0.6), 8, fill=colour)
    draw.rounded_rectangle(_part(box, 0, 0.52, 1, 0.82), 8, fill=colour)
    for x in (0.14, 0.66):
        draw.ellipse(_part(box, x, 0.7, x + 0.22, 0.95), fill="#1b1b1b")


def _bus(draw: ImageDraw.ImageDraw, box: Box, colour: str) -> None:
    draw.rounded_rectangle(_part(box, 0, 0.25, 1, 0.84), 6, fill=colour)
    for x in (0.08, 0.32, 0.56, 0.8):
        draw.rectangle(_part(box, x, 0.34, x + 0.14, 0.54), fill="#dff1fb")
    for x in (0.12, 0.68):
        draw.ellipse(_part(box, x, 0.74, x + 0.2, 0.97), fill="#1b1b1b")


def _house(draw: ImageDraw.ImageDraw, box: Box, colour: str) -> None:
    draw.rectangle(_part(box, 0.1, 0.42, 0.9, 1), fill=colour)
    left, top, right, bottom = _part(box, 0, 0.05, 1, 0.44)
    draw.polygon([(left, bottom), ((left + right) / 2, top), (right, bottom)], fill="#7a4a32")
    draw.rectangle(_part(box, 0.42, 0.66, 0.6, 1), fill="#4b3626")


def _ball(draw: ImageDraw.ImageDraw, box: Box, colour: str) -> None:
    draw.ellipse(_part(box, 0.2, 0.35, 0.8, 0.95), fill=colour, outline="#333333")


def _chair(draw: ImageDraw.ImageDraw, box: Box, colour: str) -> None:
    draw.rectangle(_part(box, 0.2, 0.1, 0.32, 1), fill=colour)
    draw.rectangle(_part(box, 0.2, 0.52, 0.82, 0.64), fill=colour)
    draw.rectangle(_part(box, 0.7, 0.6, 0.82, 1), fill=colour)


def _boat(draw: ImageDraw.ImageDraw, box: Box, colour: str) -> None:
    left, top, right, bottom = _part(box, 0, 0.62, 1, 0.95)
    draw.polygon([(left, top), (right, top), (right - 20, bottom), (left + 20, bottom)], fill=colour)
    left, top, right, bottom = _part(box, 0.5, 0.08, 0.9, 0.58)
    draw.polygon([(left, top), (right, bottom), (left, bottom)], fill="#f8f8f2", outline="#888888")


NOUNS: dict[str, Callable[[ImageDraw.ImageDraw, Box, str], None]] = {
    "car": _car, "bus": _bus, "house": _house, "ball": _ball, "chair": _chair, "boat": _boat,
}  # fmt: skip


def draw_scene(rng: random.Random) -> tuple[Image.Image, str]:
    """A scene of SIZE_PX x SIZE_PX px and its caption."""
    size = SIZE_PX * SUPERSAMPLING
    place, (sky, ground) = rng.choice(list(PLACES.items()))
    image = Image.new("RGB", (size, size), sky)
    draw = ImageDraw.Draw(image)
    horizon = size * rng.uniform(0.4, 0.6)
    draw.rectangle((0, horizon, size, size), fill=ground)
    for _ in range(40):
        x, y, r = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(2, 14)
        draw.ellipse((x - r, y - r / 2, x + r, y + r / 2), fill=ground if y < horizon else sky)
    count = rng.choice((1, 1, 2))
    phrases = []
    for noun, colour, left in zip(
        rng.sample(list(NOUNS), count), rng.sample(list(COLOURS), count), rng.sample((0.08, 0.54), count), strict=True
    ):
        side, top = size * rng.uniform(0.34, 0.42), size * rng.uniform(0.35, 0.55)
        NOUNS[noun](draw, (size * left, top, size * left + side, top + side), COLOURS[colour])
        phrases.append(f"{'an' if colour == 'orange' else 'a'} {colour} {noun}")
    return image.resize((SIZE_PX, SIZE_PX), Image.Resampling.LANCZOS), f"{' and '.join(phrases)} {place}"


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def write_shards(folder: Path) -> None:
    """NUM_SHARDS tars of SCENES_PER_SHARD scenes each."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    for shard in range(NUM_SHARDS):
        with tarfile.open(folder / f"{shard:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for number in range(SCENES_PER_SHARD):
                key = f"{shard:05d}{number:04d}"
                image, caption = draw_scene(rng)
                buffer = io.BytesIO()
                image.save(buffer, "PNG")
                metadata = {"key": key, "caption": caption, "url": None, "width": SIZE_PX, "height": SIZE_PX}
                _add(tar, f"{key}.png", buffer.getvalue())
                _add(tar, f"{key}.txt", caption.encode())
                _add(tar, f"{key}.json", json.dumps(metadata).encode())


if __name__ == "__main__":
    write_shards(Path(sys.argv[1]))
    print(f"{NUM_SHARDS * SCENES_PER_SHARD} scenes in {sys.argv[1]}")
