"""Limits of what is decoded, and the one exception for a file that gives no image.

One image at these limits takes at most `MAX_DECODE_BYTES` of memory, whatever its file contains: the copies of
the pixels, the decoder's own buffers, the file's text and its colour profile. A caller that decodes several at once
needs that for each. Covers neither the file's own bytes nor images made by models.
"""

from __future__ import annotations

import struct
import zlib
from enum import StrEnum

MAX_PIXELS = 8192 * 6144
"""Default of every `max_pixels`: a 4:4:4 CMYK JPEG in scans takes 12 bytes a pixel while it is decoded."""

MAX_DECODE_BYTES = 650_000_000
"""Most that decoding one image of `MAX_PIXELS` takes; measured in tests/unit/samples/test_image_memory.py."""

MAX_SIDE_PX = 65_535
"""Longest side, whatever the number of pixels: that of a JPEG file."""

WEIGHT = {"WEBP": 1.5, "AVIF": 2.0, "JPEG2000": 2.5, "TIFF": 1.25}
"""Format -> how many pixels one of its pixels counts for, where its decoder may need more than 12 bytes for each."""

MAX_SCAN_PIXELS = 20 * MAX_PIXELS
"""Most pixels times scans of a JPEG: 20 scans of the largest image. Real progressive files have 6 to 20."""
MAX_SCANS = 500
"""Most scans of a JPEG of any size: where libjpeg-turbo's own fuzzer stops."""
MAX_PARTS = 100_000
"""Most chunks, segments or strips of a file."""
MAX_BLOCKS = 1_000_000
"""Most blocks of up to 255 bytes of a GIF."""
MAX_FRAMES = 10_000
"""Most frames of an animation that is looked into."""

MAX_CODE_BLOCKS = 500_000
"""Most tiles, precincts and code-blocks of a JPEG 2000: 150 MB in OpenJPEG. Code-blocks of 16 x 16 at the limit fit."""

MAX_PROFILE_BYTES = 4 << 20
"""A larger colour profile counts as unreadable; those of presses have up to 3 MB."""
MAX_TEXT_BYTES = 1 << 20
"""Most of a text that may say how the image is turned, unpacked; all other text of a PNG is left out."""

MAX_EXIF_BYTES = 1 << 16
"""Longest EXIF block that Pillow is given of an AVIF: that of a JPEG. Values in it may overlap, and each is copied."""

DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, ArithmeticError, LookupError,
                 TypeError, AttributeError, AssertionError, RuntimeError)  # fmt: skip
"""Exceptions of Pillow's decoders on damaged files."""


class Problem(StrEnum):
    """Why a file gives no image."""

    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    PIXEL_BOMB = "pixel_bomb"
    TOO_COMPLEX = "too_complex"


class ImageProblem(ValueError):
    """A file that gives no image, with the reason."""

    def __init__(self, reason: Problem, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def too_complex(what: str, count: int, most: int) -> ImageProblem:
    """The exception for a file with more parts than an image has. `count` may be where counting stopped."""
    return ImageProblem(Problem.TOO_COMPLEX, f"{count} {what}, more than {most}")


def check_pixels(size: tuple[int, int], image_format: str, max_pixels: int) -> None:
    """Raise ImageProblem for an image of more pixels, or a longer side, than may be decoded."""
    most = int(max_pixels / WEIGHT.get(image_format, 1))
    text = f"{size[0]} x {size[1]} px"
    if size[0] * size[1] > most:
        kind = f" of {image_format}" if most < max_pixels else ""
        raise ImageProblem(Problem.PIXEL_BOMB, f"{text}, more than {most} pixels{kind}")
    if max(size) > MAX_SIDE_PX:
        raise ImageProblem(Problem.PIXEL_BOMB, f"{text}, a side of more than {MAX_SIDE_PX} px")
