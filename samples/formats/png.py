"""Strip a PNG of chunks that are damaged or not used, and unpack its colour profile within bounds."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from samples.formats.stripped import StrippedFile
from samples.image_limits import MAX_PARTS, MAX_PROFILE_BYTES, MAX_TEXT_BYTES, too_complex

if TYPE_CHECKING:
    from collections.abc import Iterator

CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fcTL", b"fdAT", b"acTL"})
"""Chunks that make the image; Pillow reports damage in them."""
TURNS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Beginnings of the texts in which a PNG may say how it is turned."""


def strip_png(data: bytes) -> StrippedFile:
    """The PNG file without ancillary chunks that are damaged or not used. Its profile is apart and unpacked."""
    view = memoryview(data)
    kept: list[memoryview] = [view[:8]]
    profile, is_lost, seen = None, False, set()
    for number, (kind, start, end) in enumerate(_png_chunks(data)):
        if number > MAX_PARTS:
            raise too_complex("chunks", number, MAX_PARTS)
        if kind == b"iCCP":
            if profile is None and not is_lost:
                profile = _unpacked(data[start + 8 : end - 4].partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
                is_lost = profile is None
            continue
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") and end - start <= MAX_TEXT_BYTES and kind not in seen:
            if _is_sound(view[start:end]) and (kind == b"eXIf" or _says_how_turned(kind, data[start + 8 : end - 4])):
                seen.add(kind)
                kept.append(view[start:end])
        elif not kind[0] & 0x20 or kind in CRITICAL:
            kept.append(view[start:end])
    whole = sum(len(part) for part in kept) == len(data)
    return StrippedFile(data if whole else b"".join(kept), profile, is_lost)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk up to IEND. What follows the first fault has the kind `REST`."""
    at = 8
    while at + 8 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if not kind.isalpha() or end > len(data):
            break
        yield kind, at, end
        if kind == b"IEND":
            return
        at = end
    yield b"REST", at, len(data)


def _is_sound(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _says_how_turned(kind: bytes, text: bytes) -> bool:
    if not text.startswith(TURNS):
        return False
    rest = text.partition(b"\0")[2]
    if kind == b"zTXt":
        return _unpacked(rest[1:], MAX_TEXT_BYTES) is not None
    if kind == b"iTXt" and rest[:1] == b"\1":
        return _unpacked(rest[2:].split(b"\0", 2)[-1], MAX_TEXT_BYTES) is not None
    return True


def _unpacked(packed: bytes, most: int) -> bytes | None:
    """The unpacked bytes, or None for what is damaged, empty, or larger than `most`."""
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(packed, most)
    except zlib.error:
        return None
    return found if found and not inflater.unconsumed_tail else None
