"""Strip a JPEG of long metadata, and count its scans: each one decodes the whole image again."""

from __future__ import annotations

import re

from samples.image_limits import MAX_PARTS, MAX_SCAN_PIXELS, MAX_SCANS, too_complex

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


def strip_jpeg(data: bytes) -> bytes:
    """The JPEG file. A long header loses thumbnails, comments, further EXIF and XMP, and filling."""
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
    """Refuse a JPEG that is decoded over and over. `at` is behind the marker of its first scan."""
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
