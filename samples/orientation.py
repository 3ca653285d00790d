"""Read from EXIF or XMP how an image is turned, with a bound on the cost."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from samples.image_limits import DECODE_ERRORS, MAX_TEXT_BYTES

if TYPE_CHECKING:
    from PIL.Image import Image

UPRIGHT = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
           7: "TRANSVERSE", 8: "ROTATE_90"}  # fmt: skip
"""EXIF orientation -> Pillow's name of what makes the image upright."""
SIDEWAYS = frozenset({"TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"})
"""Turns that swap width and height."""
ORIENTATION_TAG = 0x0112
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
MAX_EXIF_TAGS = 4096


def orientation(image: Image) -> int:
    """The orientation by EXIF, or else by XMP: 1 (upright) where neither has one or it is damaged."""
    try:
        found = _exif_orientation(_exif_of(image))
        xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp") or b""
        if found is None and (stated := XMP_ORIENTATION.search(_as_bytes(xmp)[:MAX_TEXT_BYTES])):
            found = int(stated[1])
    except DECODE_ERRORS:
        return 1
    return found or 1


def _exif_of(image: Image) -> bytes:
    exif = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:
        exif = bytes.fromhex("".join(str(image.info["Raw profile type exif"]).split("\n")[3:]))
    return _as_bytes(exif or b"").removeprefix(b"Exif\0\0")


def _as_bytes(value: bytes | str) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else value


def _exif_orientation(exif: bytes) -> int | None:
    """The orientation in the first directory of EXIF data, read alone: the rest of it may be of any size."""
    if exif[:4] not in (b"II*\0", b"MM\0*"):
        return None
    order = "<" if exif[:1] == b"I" else ">"
    (at,) = struct.unpack_from(order + "L", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, at)
    for number in range(min(count, MAX_EXIF_TAGS)):
        tag, kind, values = struct.unpack_from(order + "HHL", exif, at + 2 + 12 * number)
        if tag == ORIENTATION_TAG and values == 1 and kind in (3, 4):
            (found,) = struct.unpack_from(order + ("H" if kind == 3 else "L"), exif, at + 10 + 12 * number)
            return int(found)
    return None
