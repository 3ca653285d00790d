"""Re-encodes images for readers that take only some encodings, or need all files of a row in the same one.

PNG keeps every pixel. JPEG does not, and is made only where a layout prescribes it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from export.rows import Encoded
from samples.stored_images import MAX_MADE_PIXELS, encoded_image, image_size, rgb_image

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from export.shard_folder import ShardFolder

JPEG_QUALITY = 95
REENCODED = "images encoded anew"
"""Words of the card for the number of such images."""


def in_one_of(image: Encoded, suffixes: Collection[str], other: str, shard: ShardFolder) -> Encoded:
    """The image as it is where its encoding is one of `suffixes`, else as `other`. Raises ImageProblem."""
    if image.suffix in suffixes:
        return image
    shard.notes[REENCODED] += 1
    pixels = rgb_image(image.content, MAX_MADE_PIXELS)
    return Encoded(encoded_image(pixels, other, JPEG_QUALITY), other)


def in_the_same(images: Sequence[Encoded], shard: ShardFolder) -> list[Encoded]:
    """The images as they are where all have one encoding, else those that are no PNG as PNG. Raises ImageProblem."""
    if len({image.suffix for image in images}) == 1:
        return list(images)
    return [in_one_of(image, ("png",), "png", shard) for image in images]


def white_mask(image: Encoded) -> Encoded:
    """A mask of the image's size that is white everywhere. Raises ImageProblem for an unreadable image."""
    return _white_png(*image_size(image.content))


@cache
def _white_png(width: int, height: int) -> Encoded:
    from PIL import Image

    return Encoded(encoded_image(Image.new("L", (width, height), 255), "png", JPEG_QUALITY), "png")
