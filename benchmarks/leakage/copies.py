"""Copies of an image as they turn up in collections, and pieces of images that are unrelated to each other."""

from __future__ import annotations

import io
import random
import tarfile
from typing import TYPE_CHECKING

from PIL import Image, ImageEnhance, ImageOps

from samples.images import IMAGE_SUFFIXES, decode_image
from zoo.world import render, scene_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SHORTER_SIDE_PX = 512
"""What `normalise_image` scales the shorter side to."""
TILE_FRAC = 0.4
"""Side of a piece, as a share of its photograph's."""


def photographs(folder: Path) -> list[Image.Image]:
    """The images of all tars in a folder."""
    return [decode_image(content) for path in sorted(folder.glob("*.tar")) for content in _images_in(path)]


def _images_in(path: Path) -> Iterator[bytes]:
    with tarfile.open(path) as tar:
        for info in tar:
            if info.name.lower().endswith(IMAGE_SUFFIXES) and (file := tar.extractfile(info)):
                yield file.read()


def scenes(count: int, size_px: int = 256) -> list[Image.Image]:
    """The first scenes of the miniature world."""
    return [Image.fromarray(render(scene_of(0, index), size_px)) for index in range(count)]


def pieces(images: list[Image.Image], per_image: int, seed: int = 0) -> Iterator[tuple[int, Image.Image]]:
    """(number of the image, a square piece of it), at random places."""
    rng = random.Random(seed)
    for number, image in enumerate(images):
        side = int(min(image.size) * TILE_FRAC)
        for _ in range(per_image):
            x, y = rng.randint(0, image.width - side), rng.randint(0, image.height - side)
            yield number, image.crop((x, y, x + side, y + side))


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """The image at this share of its size."""
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    """The image after a JPEG of this quality."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return decode_image(buffer.getvalue())


def cropped(image: Image.Image, frac: float) -> Image.Image:
    """The image without this share of its width and height, half on each side."""
    width, height = image.size
    x, y = round(width * frac / 2), round(height * frac / 2)
    return image.crop((x, y, width - x, height - y))


def centre(image: Image.Image) -> Image.Image:
    """The centre square, as `fit = "center_crop"` cuts it."""
    return ImageOps.fit(image, (min(image.size),) * 2)


def padded(image: Image.Image) -> Image.Image:
    """The image with white bars, as `fit = "pad"` makes it square."""
    return ImageOps.pad(image, (max(image.size),) * 2, color="white")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda image: image,
    "JPEG, quality 75": lambda image: jpeg(image, 75),
    "JPEG, quality 30": lambda image: jpeg(image, 30),
    "0.5 x the size": lambda image: scaled(image, 0.5),
    "0.25 x the size": lambda image: scaled(image, 0.25),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "1.2 x as bright": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "0.8 x the contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "centre square": centre,
    "white bars to a square": padded,
    "2% cut off": lambda image: cropped(image, 0.02),
    "5% cut off": lambda image: cropped(image, 0.05),
    "10% cut off": lambda image: cropped(image, 0.1),
    "mirrored": ImageOps.mirror,
    "mirrored, 0.5 x, quality 75": lambda image: jpeg(scaled(ImageOps.mirror(image), 0.5), 75),
}
"""Name -> what makes the copy."""


def as_stored(image: Image.Image) -> bytes:
    """The image as a build stores it: the shorter side scaled, a JPEG of quality 95."""
    buffer = io.BytesIO()
    scaled(image, SHORTER_SIDE_PX / min(image.size)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()
