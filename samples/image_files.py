"""Look through an image file before Pillow does: parts that take long or much are counted, what is no pixel left out.

Each function walks one format's parts without decoding, in time linear in the file. What it cannot follow it leaves to
Pillow, which reports the damage. Nothing here judges an image: a file is kept from costing more than its pixels.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samples.avif_frames import measured
from samples.image_limits import (
    MAX_BLOCKS,
    MAX_FRAMES,
    MAX_PARTS,
    MAX_PIXELS,
    MAX_PROFILE_BYTES,
    MAX_SCAN_PIXELS,
    MAX_SCANS,
    MAX_TEXT_BYTES,
    too_complex,
)
from samples.jpeg2000_parts import SIGNATURES, check_parts

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Slim:
    """The file without what its pixels do not need; `profile` and `num_frames` where the walk has found them."""

    data: bytes
    profile: bytes | None = None
    is_profile_lost: bool = False
    """The file has a colour profile that could not be unpacked."""
    num_frames: int | None = None


def slimmed(data: bytes, max_pixels: int = MAX_PIXELS) -> Slim:
    """The file as Pillow may be given it. Raises ImageProblem where it has more parts than a picture needs."""
    if data.startswith(b"\xff\xd8\xff"):
        return Slim(_jpeg(data))
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return _gif(data)
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return Slim(_tiff(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        frames = data.count(b"ANMF")
        if frames > MAX_FRAMES:
            raise too_complex("frames", frames, MAX_FRAMES)
    if data[4:8] == b"ftyp":
        return Slim(measured(data, max_pixels))
    if data.startswith(SIGNATURES):
        check_parts(data, max_pixels)
    return Slim(data)


MARKER = re.compile(rb"\xff([\x01-\xfe])")
SCAN_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""Within a scan: neither a stuffed FF 00 nor a restart."""
SOI, EOI, SOS, COM, APP0, APP1, APP2, APP14, APP15 = 0xD8, 0xD9, 0xDA, 0xFE, 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BARE = frozenset(range(0xD0, 0xD9)) | {0x01}
"""Markers without a length."""
SMALL_HEADER_BYTES = 128 << 10
"""Up to here a JPEG's metadata costs nothing to speak of."""
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"


def _jpeg(data: bytes) -> bytes:
    """The JPEG file; where its header is long, without thumbnails, comments, further EXIF and XMP, and filling."""
    kept, seen = [b"\xff\xd8"], set()
    pixels, at = 0, 2
    while (found := MARKER.search(data, at)) is not None:
        marker, at = found[1][0], found.end()
        if marker in BARE:
            continue
        if marker == EOI:
            break
        segment = data[at : at + int.from_bytes(data[at : at + 2], "big")]
        if marker in FRAME_HEADERS and len(segment) >= 7:
            pixels = int.from_bytes(segment[3:5], "big") * int.from_bytes(segment[5:7], "big")
        if marker == SOS:
            _check_scans(data, at, pixels)
            return data if at <= SMALL_HEADER_BYTES else b"".join((*kept, b"\xff\xda", memoryview(data)[at:]))
        at += max(2, len(segment))
        kind = segment[2:31] if marker == APP1 and segment[2:31] == XMP else segment[2:8]
        is_pixels = not (APP0 <= marker <= APP15 or marker == COM) or marker in (APP0, APP2, APP14)
        if is_pixels or (marker == APP1 and kind in (EXIF, XMP) and kind not in seen):
            seen.add(kind)
            kept.append(b"\xff" + bytes([marker]) + segment)
        if len(kept) > MAX_PARTS:
            raise too_complex("segments", len(kept), MAX_PARTS)
    return data[:at]  # without a scan: Pillow would look through the rest byte by byte


def _check_scans(data: bytes, at: int, pixels: int) -> None:
    """Refuse a JPEG that is decoded over and over; `at` is behind the marker of its first scan."""
    most = min(MAX_SCANS, MAX_SCAN_PIXELS // max(1, pixels))
    if data.count(b"\xff\xda", at) < most:  # the quick way: marker or not, there are not too many
        return
    scans, position = 1, at + int.from_bytes(data[at : at + 2], "big")
    while (found := SCAN_MARKER.search(data, position)) is not None and found[1][0] != EOI:
        position = found.end()
        scans += found[1][0] == SOS
        if found[1][0] not in BARE:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
        if scans > most:
            raise too_complex(f"scans of {pixels} pixels", scans, most)


CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"fcTL", b"fdAT", b"acTL"})
"""Chunks that make the picture; Pillow reports damage in them."""
TURNS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0")
"""Beginnings of the texts in which a PNG may say how it is turned."""


def _png(data: bytes) -> Slim:
    """The PNG file without ancillary chunks that are damaged or not used; its profile apart, unpacked."""
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
    return Slim(data if whole else b"".join(kept), profile, is_lost)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk up to IEND; from where the file is broken, `REST`."""
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
    """The unpacked bytes; None for what is damaged, empty, or larger than `most`."""
    inflater = zlib.decompressobj()
    try:
        found = inflater.decompress(packed, most)
    except zlib.error:
        return None
    return found if found and not inflater.unconsumed_tail else None


BLOCK_START = re.compile(rb"[!,;]")
EXTENSION, IMAGE, CONTROL = 0x21, 0x2C, 0xF9


def _gif(data: bytes) -> Slim:
    """The GIF file up to its first frame, without comments; all frames are counted."""
    at = _behind_palette(data, 10, 13)
    kept, frames, blocks = [data[:at]], 0, 0
    while (found := BLOCK_START.search(data, at)) is not None and found[0] != b";":
        start = found.start()
        is_image = data[start] == IMAGE
        if is_image and start + 10 > len(data):
            break
        at = _behind_palette(data, start + 9, start + 10) + 1 if is_image else start + 2
        while at < len(data) and data[at]:
            at += data[at] + 1
            blocks += 1
        if blocks > MAX_BLOCKS:
            raise too_complex("blocks", blocks, MAX_BLOCKS)
        at += 1
        if frames == 0 and (is_image or data[start + 1 : start + 2] == bytes([CONTROL])):
            kept.append(data[start:at])
        frames += is_image
    if frames == 0:
        return Slim(data[: 2 * len(kept[0])])
    is_whole = at <= len(data)
    return Slim(b"".join(kept) + b";" * (is_whole or frames > 1), num_frames=frames)


def _behind_palette(data: bytes, flags_at: int, at: int) -> int:
    """Where what follows the palette begins, if the flags say that there is one at `at`."""
    flags = data[flags_at] if flags_at < len(data) else 0
    return at + (3 << (flags & 7) + 1 if flags & 0x80 else 0)


TILE_WIDTH, TILE_LENGTH = 322, 323
PRIVATE_TAGS = 700
"""Tags from here on are not read by Pillow unless it is asked for them."""
BYTES_TYPES = frozenset({1, 2, 7})
POINTERS = frozenset({34665, 34853, 40965})
"""Tags of further directories (EXIF, GPS, interoperability), which Pillow would unpack entirely."""
INTEGER_BYTES = {1: 1, 3: 2, 4: 4, 16: 8}
"""Type of a TIFF value -> bytes, of those that a tile's side may have."""


def _tiff(data: bytes) -> bytes:
    """The TIFF file without EXIF. Raises ImageProblem for more pieces than a picture has, or tiles larger than one."""
    order, is_big = "<" if data[:1] == b"I" else ">", data[2:4] in (b"+\0", b"\0+")
    entry = struct.Struct(order + ("HHQ8s" if is_big else "HHL4s"))
    tile, hidden = {TILE_WIDTH: 0, TILE_LENGTH: 0}, []
    try:
        at = int(struct.unpack_from(order + ("Q" if is_big else "L"), data, 8 if is_big else 4)[0])
        count = int(struct.unpack_from(order + ("Q" if is_big else "H"), data, at)[0])
        for number in range(min(count, MAX_PARTS)):
            place = at + (8 if is_big else 2) + number * entry.size
            tag, kind, values, value = entry.unpack_from(data, place)
            if tag < PRIVATE_TAGS and kind not in BYTES_TYPES and values > 2 * MAX_PARTS:
                raise too_complex(f"values of tag {tag}", values, 2 * MAX_PARTS)
            if tag in POINTERS:
                hidden.append(place)
            if tag in tile:
                tile[tag] = int.from_bytes(value[: INTEGER_BYTES.get(kind, 8)], "little" if order == "<" else "big")
    except (struct.error, OverflowError):
        return data
    if tile[TILE_WIDTH] * tile[TILE_LENGTH] > MAX_PIXELS:
        raise too_complex("pixels a tile", tile[TILE_WIDTH] * tile[TILE_LENGTH], MAX_PIXELS)
    if not hidden:
        return data
    changed = bytearray(data)
    for place in hidden:
        changed[place + 2 : place + 4] = b"\0\0"  # a type that does not exist: readers skip the tag
    return bytes(changed)
