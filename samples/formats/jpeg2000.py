"""Count the tiles, precincts and code-blocks of a JPEG 2000 file before Pillow decodes it.

OpenJPEG allocates some hundred bytes for each of them, even without data, so that a file of 200 bytes may take
gigabytes. Source: ISO/IEC 15444-1, annex A (A.4 SOT, A.5 SIZ, A.6 COD and COC) and B.6, B.7 (precincts, code-blocks).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from samples.image_limits import MAX_CODE_BLOCKS, MAX_PARTS, check_pixels, too_complex

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURES = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")
START = re.compile(rb"(?:\A|jp2c|jp2c.{8})\xff\x4f", re.DOTALL)
"""Where a code stream begins: the file, or what its box holds."""
MAX_STREAMS = 16
SIZ, COD, COC, SOT, SOD, EOC = b"\xff\x51", b"\xff\x52", b"\xff\x53", b"\xff\x90", b"\xff\x93", b"\xff\xd9"
SEGMENTS = frozenset(bytes([0xFF, low]) for low in (
    0x50, 0x51, 0x52, 0x53, 0x55, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63, 0x64, 0x74, 0x75, 0x77,
    0x78, 0x90, 0x91,
))  # fmt: skip
"""Markers with a length that OpenJPEG knows; behind others it looks on every two bytes, and so does this."""
TILE_BLOCKS = 12
"""A tile takes, for each component, as much as so many code-blocks: 3.8 kB."""


class _Style(NamedTuple):
    """How components are cut: the number of halvings, and exponents of the sides of code-blocks and precincts."""

    levels: int
    block: tuple[int, int]
    precincts: bytes

    def pieces(self, width: int, height: int) -> int:
        """Code-blocks and precincts of one component of a tile."""
        total = 0
        for number in range(self.levels + 1):
            stated = self.precincts[number] if number < len(self.precincts) else 0xFF
            precinct = stated & 15, stated >> 4
            halved = 1 if number else 0
            sides = [-(-side >> self.levels - number) for side in (width, height)]
            precincts = [_ceil(side, exponent) for side, exponent in zip(sides, precinct, strict=True)]
            blocks = [
                _ceil(_ceil(side, halved), max(0, min(block, exponent - halved)))
                for side, block, exponent in zip(sides, self.block, precinct, strict=True)
            ]
            total += precincts[0] * precincts[1] + (3 if number else 1) * blocks[0] * blocks[1]
        return total


def _ceil(side: int, exponent: int) -> int:
    return -(-side >> exponent)


def check_parts(data: bytes, max_pixels: int) -> None:
    """Raise ImageProblem for a file that is cut into more pieces than an image needs, or is too large."""
    parts = 0
    for number, found in enumerate(START.finditer(data)):
        if number >= MAX_STREAMS:
            raise too_complex("code streams", number + 1, MAX_STREAMS)
        tile, tiles, components = (0, 0), 0, 0
        for marker, segment in _segments(data, found.end()):
            parts += 1
            if parts > MAX_PARTS:
                raise too_complex("segments", parts, MAX_PARTS)
            if marker == SIZ and len(segment) >= 36:
                x, y, left, top, tile_x, tile_y, tile_left, tile_top = (
                    int.from_bytes(segment[at : at + 4], "big") for at in range(2, 34, 4)
                )
                size = max(0, x - left), max(0, y - top)
                check_pixels(size, "JPEG2000", max_pixels)
                tile = min(size[0], tile_x), min(size[1], tile_y)
                tiles = -(-max(0, x - tile_left) // max(1, tile_x)) * -(-max(0, y - tile_top) // max(1, tile_y))
                components = int.from_bytes(segment[34:36], "big")
            style = _style(marker, segment, components)
            pieces = components * (TILE_BLOCKS * tiles + (style.pieces(*tile) if style else 0))
            if pieces > MAX_CODE_BLOCKS:
                raise too_complex("tiles and code-blocks", pieces, MAX_CODE_BLOCKS)


def _segments(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """(marker, contents) of the segments of the main header and those of all tile parts."""
    stop = 0
    # the end of the tile part; in the main header, where a SOD is skipped, 0
    while at + 2 <= len(data):
        marker = data[at : at + 2]
        if marker == EOC and stop:
            return
        if marker == SOD and stop:
            at = max(at + 2, stop)
            continue
        if marker not in SEGMENTS:
            yield marker, b""
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segment = data[at + 4 : at + 2 + length]
        if marker == SOT:
            part = int.from_bytes(segment[2:6], "big")
            stop = at + part if part else len(data)
        yield marker, segment
        at += 2 + max(2, length)


def _style(marker: bytes, segment: bytes, components: int) -> _Style | None:
    """How a COD or COC segment says that components are cut."""
    if marker not in (COD, COC):
        return None
    flags_at = 0 if marker == COD else 1 if components < 257 else 2
    at = 5 if marker == COD else flags_at + 1
    if len(segment) < at + 5:
        return None
    has_precincts = segment[flags_at] & 1
    block = (segment[at + 1] & 15) + 2, (segment[at + 2] & 15) + 2
    return _Style(min(segment[at], 32), block, segment[at + 5 :] if has_precincts else b"")
